from __future__ import annotations

import pytest

from benchmarks.statistics.bench_coverage import false_verdicts, made_up_videos, main


def test_equal_arms_are_seldom_called_different() -> None:
    videos = made_up_videos(120, 60, 6)
    assert len(videos.names) == 120 and len(set(videos.groups)) == 60 and set(videos.labels_N.tolist()) == set(range(6))
    found = false_verdicts(videos, num_seeds=4, scatter=0, repetitions=25, num_resamples=200)
    assert set(found.shares) == {"top1", "map", "mean_class_accuracy", "log_loss"}
    assert max(found.shares.values()) <= 0.2  # more than 5 of 25 have a probability below 0.2 % at 5 %
    assert 1 < found.deviation < 6


def test_the_scatter_of_seeds_is_what_was_asked_for() -> None:
    videos = made_up_videos(120, 60, 6)
    calm, wild = (
        false_verdicts(videos, num_seeds=3, scatter=scatter, repetitions=4, num_resamples=100).deviation
        for scatter in (0.0, 2.0)
    )
    assert wild > 2 * calm


def test_a_row_for_each_number_of_seeds_and_scatter(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--videos", "60", "--groups", "30", "--classes", "3", "--repetitions", "2", "--resamples", "100"]
    main([*sizes, "--seeds", "1", "3", "--scatter", "0", "0.5"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows] == ["| seeds", "|---|---|---|---|---|", "| 1", "| 1", "| 3", "| 3"]
    with pytest.raises(ValueError, match="at least as many groups as classes"):
        main([*sizes, "--groups", "2"])
