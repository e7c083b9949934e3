"""The CUDA kernels compile for every generation of GPUs: by NVRTC, which comes with torch's CUDA packages.

No GPU and no nvcc is needed. CUDA 13 has left Volta out, so sm_70 is compiled where CUDA 12's NVRTC is (the extra dev).
"""

from __future__ import annotations

import ctypes
import itertools
import re
import sysconfig
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "reskd" / "csrc" / "cuda"
PACKAGES = Path(sysconfig.get_path("purelib")) / "nvidia"
ARCHITECTURES = ("sm_70", "sm_80", "sm_90", "sm_100")
# What NVRTC lacks of the C++ library, as far as the kernels use it.
HEADERS = {
    "cstdint": "#pragma once\n"
    "using int64_t = long long; using uint64_t = unsigned long long; using int32_t = int;\n"
    "using uint32_t = unsigned int; using uint16_t = unsigned short; using uint8_t = unsigned char;\n"
    "using uintptr_t = unsigned long long;\n"
    "namespace std { using ::int64_t; using ::uint64_t; using ::int32_t; using ::uint32_t; using ::uint16_t;\n"
    "using ::uint8_t; using ::uintptr_t; }\n",
    "cstring": "#pragma once\nnamespace std { using ::memcpy; }\n",
    "algorithm": "#pragma once\n"
    "namespace std { template <class T> constexpr T min(T a, T b) { return b < a ? b : a; }\n"
    "template <class T> constexpr T max(T a, T b) { return a < b ? b : a; } }\n",
}


def kernels() -> str:
    """All kernels that launch.cu starts, for all dtypes."""
    types = ("float", "Half", "BFloat16")
    lines = ['#include "kernels.cuh"', "namespace reskd::cuda {"]
    for student, teacher in itertools.product(types, types):
        vector = f"16 / sizeof({teacher})"
        lines.append(f"template __global__ void columns_kernel<{student}, {teacher}, {vector}>(Problem, Plan);")
        lines += [
            f"template __global__ void tiles_kernel<{student}, {teacher}, {count}>(Problem, Plan);"
            for count in (vector, "1")
        ]
    scale = "template __global__ void scale_kernel"
    lines += [
        f"{scale}<{name}, {count}>(const {name}*, {name}*, int64_t, const float*, double);"
        for name in types
        for count in (f"16 / sizeof({name})", "1")
    ]
    return "\n".join([*lines, "}  // namespace reskd::cuda"])


def compiler_for(architecture: str) -> ctypes.CDLL:
    """The newest NVRTC here that knows the architecture."""
    for path in (PACKAGES / "cu13/lib/libnvrtc.so.13", PACKAGES / "cuda_nvrtc/lib/libnvrtc.so.12"):
        if path.is_file():
            nvrtc, count = ctypes.CDLL(str(path)), ctypes.c_int()
            nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
            known = (ctypes.c_int * count.value)()
            nvrtc.nvrtcGetSupportedArchs(known)
            if int(architecture.removeprefix("sm_")) in known:
                return nvrtc
    pytest.skip(f"needs an NVRTC that knows {architecture}, from torch's CUDA packages or the extra dev")


def include_folder() -> Path:
    found = [path for path in (PACKAGES / "cu13" / "include", PACKAGES / "cuda_runtime" / "include") if path.is_dir()]
    if not found:
        pytest.skip("needs the headers of torch's CUDA packages")
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile_without_a_warning(architecture: str) -> None:
    nvrtc = compiler_for(architecture)
    program = ctypes.c_void_p()
    names = (ctypes.c_char_p * len(HEADERS))(*(name.encode() for name in HEADERS))
    texts = (ctypes.c_char_p * len(HEADERS))(*(text.encode() for text in HEADERS.values()))
    source = kernels().encode()
    made = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", len(HEADERS), texts, names)
    assert made == 0
    options = ["--std=c++17", "--device-as-default-execution-space", "--ptxas-options=--verbose"]
    options += [f"--gpu-architecture={architecture}"]
    options += [f"--include-path={folder}" for folder in (SOURCES, include_folder())]
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    code = nvrtc.nvrtcCompileProgram(program, len(options), given)
    told = log_of(nvrtc, program)
    assert code == 0, told
    assert "): warning" not in told, told  # NVRTC's own, of an old architecture, has no line of the source
    size = ctypes.c_size_t()
    assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0 and size.value > 10_000
    assert len(re.findall(r"Used \d+ registers", told)) == 3 * 3 * 3 + 3 * 2 + 1  # each kernel once
    # On Ampere and Hopper none spills, on Volta and Blackwell some of those in half precision do, 8 to 32 bytes.
    most = 0 if architecture in ("sm_80", "sm_90") else 32
    assert max(int(count) for count in re.findall(r"(\d+) bytes spill", told)) <= most


def log_of(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, text)
    return text.value.decode(errors="replace")
