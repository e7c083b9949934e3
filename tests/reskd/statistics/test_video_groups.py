from __future__ import annotations

from pathlib import Path

from reskd.statistics.video_groups import groups_of


def test_groups_are_those_of_the_table_else_the_patterns_else_the_videos_own(tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    videos = ("v_g1_c1", "v_g2_c1", "alone")
    assert groups_of(videos, splits, None) == videos
    assert groups_of(videos, splits, r"(g\d)_") == ("g1", "g2", "alone")
    splits.write_text("path,label,group,split\nv_g1_c1,x,scene,test\nv_g2_c1,x,v_g2_c1,test\n")
    assert groups_of(videos, splits, r"(g\d)_") == ("scene", "g2", "alone")
