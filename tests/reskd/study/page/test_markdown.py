from __future__ import annotations

from reskd.study.page.markdown import render_markdown
from reskd.study.page.words import lead_sentences
from tests.reskd.study.example import study


def test_the_lead_and_the_tables_stand_in_the_page() -> None:
    text = render_markdown(study())
    assert text.startswith(f"# pixels \\& frames\n\n{lead_sentences(study())[0]}\n\n")
    assert (
        "| student minus baseline (2 seeds, 1,334 videos in 50 groups) | top-1 | better | +3.1 points | 0.8 to 5.2 |"
        in text
    )
    assert "\n    reskd study --name '<x>' && echo done\n" in text
    assert "| torch | 2.15.0 |" in text


def test_names_are_no_markup() -> None:
    text = render_markdown(study(commands=()))
    assert "<b>" not in text.replace("\\<b>", "")
    assert "| \\<b>5 \\& \"6\" \\| 'x'\\</b> | seed 1, split 2 | diverged |" in text
