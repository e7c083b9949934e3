"""Take every frame for a progressive one, so that its RGB depends on its planes and color tags alone.

Note [Interlaced flags]
PyAV 18 converts the chroma of a 4:2:0 frame field by field where the decoder flagged the frame as interlaced. In H.264
the flag depends on earlier pictures, so a frame decoded from selected packets may lack it; planes in a cache or in a
transcoded file have none. Without the flag, equal planes give equal pixels.
"""

from __future__ import annotations

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

_TICK = Fraction(1, 25)  # for a frame without a time base


def as_progressive(frame: VideoFrame) -> VideoFrame:
    """The frame itself; for an interlaced one, the same planes and color tags without the flag.

    See Note [Interlaced flags].
    """
    if not frame.interlaced_frame:
        return frame
    graph = Graph()  # PyAV cannot set the flag
    graph.threads = 1
    time_base = frame.time_base or _TICK
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("setfield", mode="prog"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()
