from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reskd.scaling.config import StepRates, read_rates


def settings(**changes: Any) -> dict[str, Any]:
    """Rates of one process, with other groups in place of some."""
    return {
        "about": "made up",
        "step": {"measured": [{"clips": 16, "seconds": 0.1}], "backward_share": 0.4, "spread": 0.0},
        "reading": {"core_seconds": 0.02, "kib": 200.0, "workers": 8, "spread": 0.0},
        "gradients": {"parameters": 25_000_000},
        "cluster": {
            "on_gpu": True, "processes_per_node": 8, "cores_per_node": 96, "node_gb_per_s": 300,
            "network_gb_per_s": 25, "latency_us": 0,
        },
        **changes,
    }  # fmt: skip


def test_between_measured_steps_are_lines() -> None:
    points = [{"clips": 8, "seconds": 0.02}, {"clips": 16, "seconds": 0.03}, {"clips": 64, "seconds": 0.09}]
    step = StepRates.model_validate({"measured": points, "backward_share": 0.4})
    assert [step.seconds(clips) for clips in (4, 8, 12, 16, 40, 64, 112)] == pytest.approx(
        [0.015, 0.02, 0.025, 0.03, 0.06, 0.09, 0.15]
    )


def test_one_measured_step_scales_what_is_not_fixed() -> None:
    one = StepRates.model_validate(
        {"measured": [{"clips": 16, "seconds": 0.1}], "backward_share": 0.4, "fixed_seconds": 0.02}
    )
    assert [one.seconds(clips) for clips in (8, 16, 32)] == pytest.approx([0.06, 0.1, 0.18])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster": {"on_gpu": True}}, "cluster.processes_per_node: expected a value, found none"),
        ({"speed": 3}, "unknown key speed"),
        ({"gradients": {"parameters": 0}}, "gradients.parameters: .*greater than or equal to 1, found 0"),
        (
            {"step": {"measured": [{"clips": 8, "seconds": 1}, {"clips": 8, "seconds": 2}], "backward_share": 0.4}},
            "step.measured: expected points with rising clips and no falling seconds",
        ),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(yaml.safe_dump(settings(**changes)))
    with pytest.raises(ValueError, match=message):
        read_rates(tmp_path / "rates.yaml")


@pytest.mark.parametrize("path", sorted(Path("docs/results/scaling").glob("*.yaml")), ids=lambda path: path.stem)
def test_recorded_rates_can_be_read(path: Path) -> None:
    assert read_rates(path).about
