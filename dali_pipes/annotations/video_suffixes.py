"""Suffixes of the names of video files."""

from __future__ import annotations

# Those of FFmpeg's demuxers, without pictures, sound, subtitles, games' formats and raw frames, and others in use for
# the same containers. A fixed list: which files a class folder holds does not depend on the installed FFmpeg.
_NAMES = """
264 265 266 3g2 3gp 3gp2 3gpp amv apv asf avc avi avs2 avs3 cavs dav dif divx dv dvr-ms evc evo f4v flm flv gif gxf
h261 h263 h264 h265 h266 h26l hevc ifv ism ismv ivf ivr k3g kux lvf lxf m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d
mkv mod mov mp4 mp4v mpe mpeg mpg mpv mts mxf nsv nut obu ogg ogm ogv ogx pdv psp qt rcv rm rmvb swf tod trp ts tts ty
vc1 viv vob vro vvc webm wm wmv wtv xvid y4m
"""
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
