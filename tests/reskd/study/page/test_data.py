from __future__ import annotations

import pytest

from reskd.study.page.data import Picture


@pytest.mark.parametrize("uri", ["https://example.org/a.png", "data:text/html;base64,AAAA", "data:image/svg+xml,<svg>"])
def test_a_picture_that_is_not_in_the_page_or_may_hold_scripts_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="^sheet: expected an image as a data URI in base64"):
        Picture("sheet", uri)
