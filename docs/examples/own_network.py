"""Networks for ``family: python``: see docs/extending.md."""

from torch import Tensor, nn


def tiny(num_classes: int, width: int = 32) -> nn.Module:
    """A small 3-D network of one's own; it returns its scores and its last feature map."""
    return TinyNetwork(num_classes, width)


class TinyNetwork(nn.Module):
    """pictures (N, 3, T, H, W) -> scores (N, K) and features (N, D, T, H / 32, W / 32)."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, width, (1, 8, 8), stride=(1, 8, 8))
        self.body = nn.Sequential(
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.Conv3d(width, 2 * width, (3, 4, 4), stride=(1, 4, 4), padding=(1, 0, 0)),
        )
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self.body(self.stem(pictures)).relu()
        return {"logits": self.fc(features.mean((2, 3, 4))), "features": features}


def videomae(num_classes: int, frames: int = 16, size: int = 224, **config: int) -> nn.Module:
    """VideoMAE of Hugging Face, with random weights; ``VideoMAE.from_pretrained`` in place of the config loads some."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    about = VideoMAEConfig(num_labels=num_classes, num_frames=frames, image_size=size, **config)
    return WithFeatureMap(VideoMAEForVideoClassification(about))


class WithFeatureMap(nn.Module):
    """Gives the tokens of a Hugging Face video network as a feature map (N, T, D, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        about, found = self.network.config, self.network(pictures, output_hidden_states=True)
        grid = (pictures.shape[1] // about.tubelet_size, *(side // about.patch_size for side in pictures.shape[3:]))
        maps = found.hidden_states[-1].unflatten(1, grid).permute(0, 1, 4, 2, 3)
        return {"logits": found.logits, "features": maps}
