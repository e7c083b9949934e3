from __future__ import annotations

from dataclasses import replace

from reskd.statistics.metrics import LABEL_SET_METRICS, METRICS, ArmSummary, MeanAndDeviation
from reskd.study.page.data import ReportArm, ReportComparison
from reskd.study.page.words import (
    count_verdicts,
    describe_comparison,
    describe_gap,
    describe_runs,
    lead_sentences,
    reading_notes,
)
from tests.reskd.study.example import COMPARISON, study

TOP1, LOG_LOSS = METRICS[0], METRICS[-1]


def test_every_metric_has_its_verdict_in_the_sentence() -> None:
    assert describe_comparison(study().comparisons[0]) == (
        "student compared with baseline (2 seeds, 1,334 videos in 50 groups): better in top-1 (+3.1 points, 95 % "
        "interval 0.8 to 5.2), undecided in mAP (+1.0 points, 95 % interval -2.0 to 4.0), worse in mean class accuracy "
        "(-5.0 points, 95 % interval -8.0 to -2.0), better in log loss (-0.123 nats, 95 % interval -0.200 to -0.050)."
    )


def test_one_seed_and_few_groups_are_said() -> None:
    row = study().comparisons[1]
    sentence = describe_comparison(row)
    assert "(1 seed, 1,334 videos in 5 groups)" in sentence
    assert sentence.endswith(
        " One seed decides nothing, as runs with other seeds may differ by more than the intervals."
    )
    assert row.comparison is not None
    few = replace(row, comparison=row.comparison._replace(num_seeds=2))
    assert describe_comparison(few).endswith(" So few groups of videos decide nothing, whatever the intervals are.")


def test_a_comparison_that_is_missing_has_its_reason() -> None:
    assert describe_comparison(study().comparisons[2]) == (
        "not run cannot be compared with baseline: its runs have not started"
    )


def test_the_share_of_the_gap_is_given_or_said_to_be_undefined() -> None:
    sentence = describe_gap(study().gaps[0])
    assert sentence.startswith(
        "Of the gap between baseline and teacher, student recovers: 62 % in top-1 (interval 20 to 104), not defined in "
        "mAP (the gap may be nothing), "
    )


def test_a_question_at_several_values_has_its_verdicts_counted() -> None:
    rows = (
        ReportComparison("student (2)", "baseline (2)", "student over baseline", COMPARISON),
        ReportComparison("student (4)", "baseline (4)", "student over baseline", COMPARISON),
        ReportComparison("student (8)", "baseline (8)", "student over baseline", None),
        ReportComparison("other (2)", "baseline (2)", "other over baseline", None),
    )
    first, second, runs = lead_sentences(study(comparisons=rows))
    assert first == (
        "student over baseline, 3 comparisons, 1 not done (2 seeds, 1,334 videos in 50 groups): 2 better in top-1; 2 "
        "undecided in mAP; 2 worse in mean class accuracy; 2 better in log loss."
    )
    assert second == "other over baseline: none of 1 comparison is done."
    assert runs.startswith("17 of 27 planned runs are done")


def test_missing_and_broken_runs_are_counted() -> None:
    report = study()
    assert describe_runs(report) == (
        "17 of 27 planned runs are done, 1 diverged; every mean is over finished runs only."
    )
    whole = replace(report, arms=report.arms[:1], failures=())
    assert describe_runs(whole) == "6 of 6 planned runs are done."


def test_the_lead_is_the_first_comparison_its_gap_and_the_runs() -> None:
    report = study()
    assert lead_sentences(report) == (
        describe_comparison(report.comparisons[0]),
        describe_gap(report.gaps[0]),
        describe_runs(report),
    )


def test_the_number_of_verdicts_is_told() -> None:
    notes = reading_notes(study())
    assert any("The 8 verdicts are not corrected" in note and "about 5 % of verdicts" in note for note in notes)
    assert notes[-1].startswith("A note on ")
    assert not any("verdicts" in note for note in reading_notes(study(comparisons=())))


def test_label_sets_have_words_of_their_own() -> None:
    values = {metric.name: MeanAndDeviation(0.5, None) for metric in LABEL_SET_METRICS}
    arm = ReportArm("student", ArmSummary(values, 1, 10, LABEL_SET_METRICS), 1, 1)
    notes = " ".join(reading_notes(study(arms=(arm,), comparisons=())))
    assert "GAP@20, mAP, Hit@1 and PERR are in per cent, and higher is better; log loss is in nats" in notes
    assert "Log loss of sigmoid scores is summed over classes." in notes
    assert "top-1" not in notes


def test_comparisons_of_two_kinds_of_scores_are_counted_metric_by_metric() -> None:
    gap = LABEL_SET_METRICS[0]
    other = COMPARISON._replace(differences=(COMPARISON.differences[0]._replace(metric=gap),))
    rows = [ReportComparison("a", "b", "a over b", one) for one in (COMPARISON, other, COMPARISON)]
    found = count_verdicts("a over b", rows)
    assert "2 better in top-1" in found and "1 better in GAP@20" in found
