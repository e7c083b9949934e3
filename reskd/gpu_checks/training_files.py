"""Files for measuring a training on real files: short videos as ``transcode`` leaves them, and their frames as JPEG."""

from __future__ import annotations

import os
from pathlib import Path

_JPEG_QUALITY = 90


def copy_often(videos: list[Path], folder: Path, copies: int) -> None:
    """Link each video so often that no batch repeats one, into the folders of two classes.

    Args:
        folder: an existing one.
    """
    for number, video in enumerate(videos):
        for copy in range(copies):
            link = folder / f"class_{number % 2}" / f"{number}_{copy}{video.suffix}"
            link.parent.mkdir(exist_ok=True)
            os.link(video, link)


def write_frame_folders(videos: list[Path], folder: Path, copies: int) -> None:
    """As ``copy_often``, with each video as a folder of img_00001.jpg and so on; copies are links.

    Args:
        folder: an existing one.
    """
    import cv2

    from dali_pipes.decode.pyav import open_video

    for number, video in enumerate(videos):
        folders = [folder / f"class_{number % 2}" / f"{number}_{copy}" for copy in range(copies)]
        for made in folders:
            made.mkdir(parents=True)
        with open_video(video) as container:
            for index, frame in enumerate(container.decode(video=0), start=1):
                name = f"img_{index:05d}.jpg"
                quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                cv2.imwrite(str(folders[0] / name), frame.to_ndarray(format="bgr24"), quality)
                for made in folders[1:]:
                    os.link(folders[0] / name, made / name)
