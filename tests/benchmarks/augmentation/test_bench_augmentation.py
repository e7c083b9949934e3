from __future__ import annotations

import pytest

from benchmarks.augmentation.bench_augmentation import RECIPES, main


def test_each_recipe_is_timed_beside_torchvision_s(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--clips", "2", "--frames", "2", "--size", "16", "--student-size", "8", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| recipe | both views, cpu-ms a clip | torchvision")
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(RECIPES)
    for line in lines[2:]:
        assert all(float(cell.split()[0]) >= 0 for cell in line.split("|")[2:4])
