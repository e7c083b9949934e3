"""The tab "Custom scalars": what to look at first, in charts of several curves."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

Layout = Mapping[str, Mapping[str, tuple[str, list[str]]]]

# Category -> title of a chart -> regular expressions of its curves.
LAYOUT: Layout = {
    "A run": {
        "loss": ("Multiline", ["loss/(?!alpha_).*"]),
        "share of each term in the loss": ("Multiline", ["loss_share/.*"]),
        "automatic weights": ("Multiline", ["loss/alpha_.*"]),
        "accuracy": ("Multiline", ["train/top1", "val(_teacher)?/(?!log_loss).*"]),
        "log loss of the validation list": ("Multiline", ["val(_teacher)?/log_loss"]),
        "top-1: training against validation": ("Multiline", ["train/top1", "val/top1", "val_teacher/top1"]),
        "learning rate": ("Multiline", ["train/lr"]),
        "clips a second": ("Multiline", ["speed/clips_per_second"]),
        "share of the time waiting for data": ("Multiline", ["speed/data_wait_share"]),
        "milliseconds of a step, by phase": ("Multiline", ["speed/.*_ms"]),
        "shares of the time: GPU and its decoder busy": ("Multiline", ["speed/gpu_.*busy"]),
        "GiB on the GPU": ("Multiline", ["speed/gpu_.*_gib"]),
    },
    "Teacher and student": {
        "gradients of the terms": ("Multiline", ["grad_norm/.*"]),
        "cosines between them": ("Multiline", ["grad_cosine/.*"]),
        "feature maps": ("Multiline", ["feature_map/.*"]),
    },
}


def layout_of(names: Collection[str]) -> dict[str, dict[str, tuple[str, list[str]]]]:
    """The part of ``LAYOUT`` whose charts have a curve among ``names``; the others would be empty frames."""
    shown: dict[str, dict[str, tuple[str, list[str]]]] = {}
    for category, charts in LAYOUT.items():
        for title, (kind, patterns) in charts.items():
            if any(re.fullmatch(pattern, name) for pattern in patterns for name in names):
                shown.setdefault(category, {})[title] = (kind, patterns)
    return shown
