from __future__ import annotations

import pytest

from reskd.pages.svg import Scale, axes, element, escaped, marker, scale_for, shortened, text_at


def test_a_scale_puts_its_ends_at_its_ends() -> None:
    linear, log = Scale(10, 30, 100, 0), Scale(1, 100, 0, 80, is_log=True)
    assert [linear.at(value) for value in (10, 15, 30)] == [100, 75, 0]
    assert [log.at(value) for value in (1, 10, 100)] == pytest.approx([0, 40, 80])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 11, [-2, 0, 2, 4, 6, 8, 10]), (81.2, 83.9, [81.5, 82, 82.5, 83, 83.5])],
)
def test_ticks_are_round_numbers_within_the_scale(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_scale_are_round_too() -> None:
    assert Scale(1.5, 60, 0, 1, is_log=True).ticks() == [2, 5, 10, 20, 50]
    assert Scale(0.9, 1100, 0, 1, is_log=True).ticks() == [1, 10, 100, 1000]


@pytest.mark.parametrize("values", [[0.0], [5.0], [-5.0, -5.0], [1.0, 2.0], [0.0, 100.0]])
def test_a_scale_has_room_for_any_values(values: list[float]) -> None:
    scale = scale_for(values, 0, 100, log_allowed=True)
    assert not scale.is_log
    assert all(0 < scale.at(value) < 100 for value in values)
    assert scale.ticks()


def test_a_scale_is_logarithmic_from_a_ratio_of_4_on_if_that_is_allowed() -> None:
    assert scale_for([1, 4], 0, 1, log_allowed=True).is_log
    assert not scale_for([1, 3.9], 0, 1, log_allowed=True).is_log
    assert not scale_for([1, 4], 0, 1).is_log


def test_text_is_escaped_and_on_one_line() -> None:
    assert escaped("<a href='x'>\"&\n") == "&lt;a href=&#x27;x&#x27;&gt;&quot;&amp;\\n"
    assert text_at(1, 2.25, "<&") == '<text x="1" y="2.2" text-anchor="start">&lt;&amp;</text>'


def test_elements_have_attributes_and_content() -> None:
    assert element("g", "a", "b", css="x y", stroke_width=2) == '<g class="x y" stroke-width="2">ab</g>'
    assert element("br") == "<br/>"


def test_marks_differ_in_color_and_shape_and_tell_what_they_are() -> None:
    marks = [marker(10, 10, number, tip="<arm>") for number in range(12)]
    assert all("<title>&lt;arm&gt;</title>" in mark for mark in marks)
    assert len(set(marks)) == 12


def test_axes_have_the_ticks_given() -> None:
    drawn = axes(Scale(50, 250, 40, 400), Scale(0, 1, 300, 20), x_title="pixels", y_title="top-1", x_ticks=[112, 224])
    assert drawn.count(">112<") == drawn.count(">224<") == 1
    assert ">100<" not in drawn
    assert ">0.4<" in drawn and ">pixels<" in drawn and ">top-1<" in drawn


def test_long_names_are_cut() -> None:
    assert shortened("abcdefgh", 8) == "abcdefgh"
    assert shortened("abcdefghi", 8) == "abcde..."
