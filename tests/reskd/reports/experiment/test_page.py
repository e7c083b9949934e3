from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reskd.pages.html import MAX_PAGE_BYTES
from reskd.reports.experiment import page as report_page
from reskd.reports.experiment.data import Experiment, Role
from reskd.reports.experiment.page import render, write_experiment_report
from reskd.statistics import pairs
from tests.reskd.pages.parsed_page import check_page
from tests.reskd.reports.experiment.models import ODD_CLASS, experiment, model, predictions, result_of


def headings(text: str) -> list[str]:
    page = check_page(text)
    texts = iter(page.texts)
    return [one for one in texts if one in HEADINGS]


HEADINGS = (
    "Not in this report",
    "Results",
    "Differences on the same videos",
    "Videos",
    "Costs",
    "Training",
    "Worst classes",
    "Confusions",
    "The most certain mistakes",
    "Are certain answers right?",
    "How the videos were seen",
    "How to read this",
    "Commands",
    "Machine",
)


def test_the_page_has_all_that_is_known_of_an_experiment() -> None:
    assert headings(render(experiment())) == list(HEADINGS[1:])


def test_names_are_text_and_nothing_is_loaded() -> None:
    page = check_page(render(experiment(-9.0, num_videos=10)))
    assert any(ODD_CLASS in text for text in page.texts)
    assert not {"b", "cpu"} & {tag for tag, _ in page.tags}
    assert any("caf\\udce9\\n.mp4" in text for text in page.texts)


def test_metrics_of_the_users_own_code_stand_in_the_results() -> None:
    scored = predictions(1.0, 0)
    metrics = {**result_of("x", scored)["metrics"], "my <score>": 0.12345, "map_all_classes": 0.5}
    page = check_page(render(Experiment("x", (model("other", "x", scored, metrics=metrics),))))
    assert "my <score>" in page.texts and "0.1235" in page.texts and "map_all_classes" not in page.texts


@pytest.mark.parametrize("num_classes", [5, 6])
def test_a_top_5_of_five_classes_is_not_shown(num_classes: int) -> None:
    scored = predictions(1.0, 0, num_classes=num_classes)
    page = check_page(render(Experiment("x", (model("other", "x", scored),))))
    assert "top-1" in page.texts and ("top-5" in page.texts) == (num_classes > 5)


def test_what_is_missing_is_named_with_its_command() -> None:
    shown = replace(
        experiment(with_roles=("student",)),
        todo={"x.baseline is not evaluated yet": "reskd evaluate x.yaml 'runs/a b'"},
        left_out=("x.teacher is not compared: other videos",),
    )
    page = check_page(render(shown))
    assert "x.teacher is not compared: other videos" in page.texts and "x.baseline is not evaluated yet." in page.texts
    assert any("reskd evaluate x.yaml 'runs/a b'" in text for text in page.texts)


def test_videos_that_are_not_there_have_words_in_place_of_pictures() -> None:
    page = check_page(render(experiment(0.0)))
    assert page.texts.count("the settings of the run are not known") == 12
    assert not page.of_tag("img")


@pytest.mark.parametrize("several", [False, True])
def test_a_single_model_has_a_page_too(several: bool) -> None:
    alone = Experiment("x", (model("other", "x", predictions(1.0, 0, several=several)),))
    found = headings(render(alone))
    assert "Differences on the same videos" not in found and ("Confusions" in found) != several


def test_results_of_earlier_versions_have_a_page_without_answers() -> None:
    roles: tuple[Role, ...] = ("baseline", "student")
    models = [model(role, role, predictions(1.0, 0), keeps_scores=False) for role in roles]
    new = {"num_parameters", "input_shape", "command", "num_steps", "environment"}
    models = [
        replace(one, result={key: value for key, value in one.result.items() if key not in new}) for one in models
    ]
    text = render(Experiment("x", tuple(models)))
    assert headings(text) == [
        "Results",
        "Differences on the same videos",
        "Videos",
        "Costs",
        "Training",
        "How the videos were seen",
        "How to read this",
    ]


@pytest.mark.slow
def test_400_classes_and_20000_videos_stay_below_5_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_FEWEST_RESAMPLES", 100)
    text = render(experiment(num_videos=20_000, num_classes=400, group_size=1))
    assert len(text.encode()) < MAX_PAGE_BYTES / 5
    check_page(text)


def test_pictures_that_do_not_fit_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = render(experiment(0.0))
    monkeypatch.setattr(report_page, "MAX_PAGE_BYTES", len(whole.encode()) - 1)
    path = write_experiment_report(experiment(0.0), tmp_path / "report.html")
    assert path.read_text().count("the settings of the run are not known") == 11
