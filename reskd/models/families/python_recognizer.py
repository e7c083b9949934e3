"""A recognizer around a network of the user's.

Its sizes are found, not told: ``check_shape`` runs the network on two clips once a view, on the meta device if its code
can run there. So widths, frames and scores are known, and refused, before a video is opened.

Shape letters: N clips, T frames, C = 3 colors, D feature channels, H W heights and widths, K classes, E embedding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reskd.extensions.locate import reason_of
from reskd.models.config import network_name
from reskd.models.families.pixel_recognizer import PixelNetwork
from reskd.models.families.python_network import (
    ContractError,
    answer_of,
    arranged,
    build_network,
    find_head,
    probe,
)
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Shape
from reskd.outputs import RecognizerOutput

_PROBE_CLIPS = 2  # one clip would hide a mix-up of the first two dimensions
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class PythonRecognizer(PixelNetwork):
    """Calls the user's network, whose names in the state dict begin with ``backbone.``.

    Attributes:
        feature_dim, embedding_dim: known after ``check_shape``; None where the network gives no such part.

    Raises:
        ValueError: the function does not make a network, or the config names modules that it does not have.
    """

    config: PythonConfig

    def __init__(self, config: PythonConfig, num_classes: int) -> None:
        with torch.device("cpu"):  # also where the meta device is the default: see build_network
            super().__init__(
                config,
                num_classes,
                backbone=build_network(config, num_classes),
                feature_dim=None,
                embedding_dim=None,
            )
        _to_channels_last(self.backbone)
        self._head_name = find_head(self.backbone, config, num_classes)
        self._captured: list[Any] = []
        if config.features is not None:
            self.backbone.get_submodule(config.features).register_forward_hook(self._capture)
        self._num_feature_frames: dict[int, int] = {}

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """The last layer; a module without parameters where it cannot be told."""
        return nn.Identity() if self._head_name is None else self.backbone.get_submodule(self._head_name)

    @property
    def head_prefix(self) -> str:
        return "(no head)" if self._head_name is None else f"backbone.{self._head_name}."

    def forward(self, data: Tensor, valid_NT: Tensor | None = None) -> RecognizerOutput:
        """As Recognizer, for frames_NTHWC; ``valid_NT`` is not passed on."""
        pictures_NTHWC, num_frames = self.pictures(data, valid_NT), data.shape[1]
        self._captured.clear()
        returned = self.backbone(arranged(pictures_NTHWC, self.config))
        captured = self._captured.pop() if self._captured else None
        answer = answer_of(returned, captured, self.config, num_frames)
        logits_NK, frame_logits_NTK = answer.logits, None
        if self.config.input == "BCHW":
            frame_logits_NTK = logits_NK.unflatten(0, (-1, num_frames))
            logits_NK = frame_logits_NTK.mean(1)
        return RecognizerOutput(
            logits_NK,
            answer.features_NTDHW,
            embedding_NE=answer.embedding_NE,
            frame_logits_NTK=frame_logits_NTK if self.gives_frame_logits else None,
        )

    def num_feature_frames(self, num_frames: int) -> int:
        """As Recognizer, for a number of frames that ``check_shape`` has seen."""
        return self._num_feature_frames[num_frames]

    def check_shape(self, shape: Shape) -> None:
        """As Recognizer; finds the network's sizes."""
        super().check_shape(shape)
        output = self._probe(shape)
        name, found = network_name(self.config), tuple(output.logits_NK.shape)
        if found != (_PROBE_CLIPS, self.num_classes):
            raise ValueError(
                f"expected {name} to return {self.num_classes} scores for each clip, found {found} for {_PROBE_CLIPS} "
                f"clips of {shape[0]} frames; give its last layer num_classes outputs, or change input."
            )
        self.feature_dim = self.embedding_dim = None
        if output.features_NTDHW is not None:
            self._num_feature_frames[shape[0]] = num_frames = output.features_NTDHW.shape[1]
            if num_frames == 0 or shape[0] % num_frames:
                raise ValueError(
                    f"expected the feature map of {name} to have {shape[0]} frames, or a whole part of them, found "
                    f"{num_frames}; check features_layout, or return one map for every 1, 2, ... frames."
                )
            self.feature_dim = output.features_NTDHW.shape[2]
        if output.embedding_NE is not None:
            self.embedding_dim = output.embedding_NE.shape[1]

    def _probe(self, shape: Shape) -> RecognizerOutput:
        was_training, sizes = self.training, (_PROBE_CLIPS, *shape, 3)
        try:
            # Code that cannot run on the meta device runs with other weights, at random.
            found = probe(self.eval(), sizes) or probe(PythonRecognizer(self.config, self.num_classes).eval(), sizes)
            assert found is not None
            return found
        except ContractError:
            raise
        except Exception as error:
            raise ValueError(
                f"{network_name(self.config)} cannot take {shape[0]} frames of {shape[1]} x {shape[2]} as "
                f"{self.config.input}: {reason_of(error)}; change the view, or input."
            ) from error
        finally:
            self.train(was_training)

    def _capture(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.compiler.is_exporting():  # an exported student gives scores alone
            self._captured.append(output)

    def _check_head_scores_parts(self, term: str, which: str) -> None:
        if term == "frame" and self.config.input == "BCHW":
            return
        raise ValueError(
            f"loss.{term} needs the network's scores {which}, which {network_name(self.config)} does not give"
            f"{'' if term == 'logit_map' else ' with input ' + self.config.input}; use loss.pixel or loss.clip, or a "
            "family of this program."
        )


def _to_channels_last(network: nn.Module) -> None:
    """Weights of convolutions in the layout of their pictures."""
    for value in (*network.parameters(), *network.buffers()):
        if value.ndim in _FORMATS:
            value.data = value.data.contiguous(memory_format=_FORMATS[value.ndim])
