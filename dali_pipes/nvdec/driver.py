"""Ask NVIDIA's driver what the GPU's video decoder decodes; torch does not tell.

Sources: cuviddec.h of the Video Codec SDK (CUVIDDECODECAPS, cudaVideoCodec, cuvidGetDecoderCaps); CUDA's driver API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dali_pipes.nvdec.abilities import Nvdec, PictureLimits

# cudaVideoCodec by FFmpeg's name.
_CODECS = {"mpeg4": 2, "h264": 4, "mjpeg": 5, "hevc": 8, "vp8": 9, "vp9": 10, "av1": 11}
_CHROMA_420 = 1
_NO_LIBRARY = (
    "this GPU cannot decode videos: the driver's library libnvcuvid.so.1 is missing (in a container set "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video)"
)


class _Capabilities(ctypes.Structure):
    """CUVIDDECODECAPS."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("bit_depth_minus_8", ctypes.c_uint),
        ("reserved_in", ctypes.c_uint * 3),
        ("is_supported", ctypes.c_ubyte),
        ("num_decoders", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort),
        ("max_width", ctypes.c_uint),
        ("max_height", ctypes.c_uint),
        ("max_macroblocks", ctypes.c_uint),
        ("min_width", ctypes.c_ushort),
        ("min_height", ctypes.c_ushort),
        ("histogram", ctypes.c_ubyte),
        ("counter_bits", ctypes.c_ubyte),
        ("max_bins", ctypes.c_ushort),
        ("reserved_out", ctypes.c_uint * 10),
    )


class _DriverError(RuntimeError):
    """A call of the driver failed."""


@dataclass(frozen=True)
class Libraries:
    """Names or paths of the driver's libraries."""

    cuda: str = "libcuda.so.1"
    nvcuvid: str = "libnvcuvid.so.1"


_DRIVER = Libraries()


def ask_driver(device_index: int, *, libraries: Libraries = _DRIVER) -> Nvdec:
    """What the decoder of a GPU can do. Never raises: where the driver gives no answer, ``problem`` says so.

    Args:
        device_index: number of the GPU, as torch counts.
    """
    try:
        nvcuvid = ctypes.CDLL(libraries.nvcuvid)
        ask = nvcuvid.cuvidGetDecoderCaps
    except (OSError, AttributeError):
        return Nvdec(_NO_LIBRARY)
    limits: dict[str, PictureLimits] = {}
    num_engines = 0
    try:
        with _context(ctypes.CDLL(libraries.cuda), device_index):
            for name, number in _CODECS.items():
                found = _Capabilities(codec=number, chroma=_CHROMA_420)
                if ask(ctypes.byref(found)) == 0 and found.is_supported:
                    sizes = found.min_width, found.min_height, found.max_width, found.max_height
                    limits[name] = PictureLimits(*sizes, found.max_macroblocks)
                    num_engines = max(num_engines, found.num_decoders)
    except (OSError, AttributeError, _DriverError) as error:
        return Nvdec(f"the driver does not say what this GPU's video decoder can do: {error}")
    if not limits:
        return Nvdec("this GPU has no video decoder")
    return Nvdec("", limits, num_engines)


def name_of_gpu(device_index: int, *, libraries: Libraries = _DRIVER) -> str:
    """For example "NVIDIA H100, CUDA 13.0"; what decoding depends on, besides DALI. Empty without a driver."""
    try:
        cuda = ctypes.CDLL(libraries.cuda)
        version, name = ctypes.c_int(), ctypes.create_string_buffer(128)
        device = _device(cuda, device_index)
        _check(cuda.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
        _check(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    except (OSError, AttributeError, _DriverError):
        return ""
    return f"{name.value.decode(errors='replace')}, CUDA {version.value // 1000}.{version.value % 1000 // 10}"


@contextmanager
def _context(cuda: ctypes.CDLL, device_index: int) -> Iterator[None]:
    """The GPU's primary context, which torch uses too, is current."""
    context, popped = ctypes.c_void_p(), ctypes.c_void_p()
    device = _device(cuda, device_index)
    _check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    try:
        _check(cuda.cuCtxPushCurrent_v2(context), "cuCtxPushCurrent")
        try:
            yield
        finally:
            cuda.cuCtxPopCurrent_v2(ctypes.byref(popped))
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)


def _device(cuda: ctypes.CDLL, device_index: int) -> ctypes.c_int:
    device = ctypes.c_int()
    _check(cuda.cuInit(0), "cuInit")
    _check(cuda.cuDeviceGet(ctypes.byref(device), device_index), "cuDeviceGet")
    return device


def _check(status: int, call: str) -> None:
    if status:
        raise _DriverError(f"{call} failed with status {status}")
