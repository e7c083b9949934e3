"""The network that turns frames into features, and its input, which is that of its own evaluation.

Shape letters: T frames, H height, W width, C = 3 colors, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dali_pipes.choices import PixelAspect
from dali_pipes.config import DataConfig, StudentViewConfig, ViewsConfig
from dali_pipes.loader.cpu_render import RenderPlan, render_plan
from dali_pipes.sampling.spec import SamplingRules, rules_from_config
from dali_pipes.sampling_config import SamplingConfig
from reskd.experiment.config import ViewName
from reskd.experiment.networks import build_evaluated_model, teacher_model, view_of
from reskd.extensions.trust import check_trusted
from reskd.inference.student import load_trained_student
from reskd.models.config import RecognizerConfig
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights.load import state_hash
from reskd.training.checkpoint import load_checkpoint

# Families whose last map of a frame depends on that frame alone.
_FRAME_BY_FRAME = ("tsn", "aggregated")
# Fixed, and of one video: a frame's last bits may depend on the rest of the batch.
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class FrameNetwork:
    """Turns frames into vectors: the mean over space of the last feature map.

    Args:
        model: in eval mode.
        rules: for the crop.
        render: the one view to render.
        about: all that the features depend on, as plain values.
    """

    model: Recognizer
    rules: SamplingRules
    render: RenderPlan
    about: Mapping[str, Any]

    @torch.no_grad()
    def features(self, frames_THWC: np.ndarray) -> np.ndarray:
        """float32 (T, D) of uint8 frames of one video."""
        device = next(self.model.parameters()).device
        parts = []
        for start in range(0, len(frames_THWC), _FRAMES_AT_ONCE):
            frames_NTHWC = torch.from_numpy(frames_THWC[start : start + _FRAMES_AT_ONCE]).unsqueeze(1).to(device)
            maps_NTDHW = self.model(frames_NTHWC).features_NTDHW
            assert maps_NTDHW is not None
            parts.append(maps_NTDHW[:, 0].float().mean((2, 3)).cpu())
        return torch.cat(parts).numpy()


def network_of_settings(
    config: RecognizerConfig, *, size: tuple[int, int], seed: int, device: torch.device
) -> FrameNetwork:
    """A recognizer with its config's weights, on square crops of 7/8 of the short side, as the paper tests.

    Raises:
        ValueError, OSError: a family that mixes frames; weights that are missing or do not fit.
    """
    views = ViewsConfig(student=StudentViewConfig(size=size, source="decoded"))
    _check_family(config)
    torch.manual_seed(seed)  # for weights=none
    # The head is not used, and a checkpoint may hold one for any number of classes.
    model = build_recognizer(config.model_copy(update={"weights_head": "new"}), 1).to(device)
    about = {"weights": config.weights}
    return _frame_network(model, views, SamplingConfig(), which="student", pixel_aspect="display", origin=about)


def network_of_run(
    checkpoint: Path, *, which: ViewName, device: torch.device, trust_code: bool = False
) -> tuple[FrameNetwork, DataConfig, int]:
    """The student of a run, or its teacher, with the input of its evaluation; also the run's data and seed.

    Args:
        trust_code: whether code may be executed that the checkpoint names for these networks (family python).

    Raises:
        ValueError, FileNotFoundError: no checkpoint of a run on videos; a family that mixes frames; no teacher; code
            that is not trusted.
    """
    student = load_trained_student(checkpoint, device, trust_code=trust_code)
    config, model = student.config, student.model
    if which == "teacher":
        state = load_checkpoint(checkpoint)
        if config.teacher is not None:
            check_trusted(teacher_model(config), str(checkpoint), trust_code=trust_code)
        model = build_evaluated_model(config, state, which=which, source=str(checkpoint), device=device)
    _check_family(model.config)
    origin = {"run": config.name, "which": which, "num_steps": student.origin["num_steps"]}
    data = config.clips
    shape = data.pixel_aspect
    view = view_of(config, which)
    network = _frame_network(model, data.views, data.sampling, which=view, pixel_aspect=shape, origin=origin)
    return network, data, config.seed


def _frame_network(
    model: Recognizer,
    views: ViewsConfig,
    sampling: SamplingConfig,
    *,
    which: ViewName,
    pixel_aspect: PixelAspect,
    origin: Mapping[str, Any],
) -> FrameNetwork:
    render = render_plan(views, (which,))
    if render is None:
        raise ValueError(
            "features are extracted from views without antialias, found a run with it; train one with antialias=false."
        )
    first = views.teacher or views.student
    about = {
        "network": model.config.architecture,
        "origin": dict(origin),
        "weights_sha256": state_hash(model),
        "views": views.model_dump(mode="json"),
        "crop_ratio": sampling.test_crop_ratio,
        "pixel_aspect": pixel_aspect,
    }
    rules = rules_from_config(sampling, view_size=first.size, mode="eval")
    return FrameNetwork(model.eval(), replace(rules, pixel_aspect=pixel_aspect), render, about)


def _check_family(config: RecognizerConfig) -> None:
    if config.family == "features":
        raise ValueError(
            "expected a network that takes images, found one that takes features (family features); give the run that "
            "its features were made with, or --model."
        )
    if config.family not in _FRAME_BY_FRAME:
        raise ValueError(
            f"expected a network that sees every frame by itself ({', '.join(_FRAME_BY_FRAME)}), found "
            f"{config.family}: its map of a frame depends on the frames around it."
        )
