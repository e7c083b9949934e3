from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reskd import environment
from reskd.environment import constraints, describe_environment, in_tested_range, missing_npp, requirements


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        ("2.5.1", False),
        ("2.6.0", True),
        ("2.6.0a0+df5bbc09d1.nv24.12", True),
        ("2.9.1+cu126", True),
        ("2.15.3", True),
        ("2.16.0", False),
        ("3.0", False),
    ],
)
def test_a_release_series_is_tested_from_the_oldest_to_the_newest(version: str, inside: bool) -> None:
    assert in_tested_range("torch", version) is inside


def test_a_newest_series_without_a_minor_takes_every_minor() -> None:
    assert in_tested_range("pydantic", "2.99.1") and not in_tested_range("pydantic", "3.0.0")


def test_a_version_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a version"):
        in_tested_range("torch", "unknown")


def test_requirements_have_floors_and_constraints_end_before_the_next_series() -> None:
    assert "torch>=2.6" in requirements() and "pydantic>=2.10" in requirements()
    assert not [line for line in requirements(without=("torch", "torchvision")) if line.startswith("torch>")]
    assert {"torch<2.16", "pydantic<3", "matplotlib<4", "nvidia-dali-cuda130<2.5"} <= set(constraints())


def test_what_training_needs_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    environment.require_for_training()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ValueError, match=r"expected tensorboard, found none; .* pip install 'reskd\[train\]'"):
        environment.require_for_training()
    assert [environment.extra_with(name) for name in ("matplotlib", "onnx", "ray", "numpy")] == [
        "train",
        "export",
        "ray",
        None,
    ]


def test_the_description_is_plain_data_without_paths_and_host_names() -> None:
    text = json.dumps(describe_environment())
    assert str(Path.home()) not in text and str(Path(environment.__file__).parents[1]) not in text
    assert f'"{platform.node()}"' not in text
    described = json.loads(text)
    assert described["python"] == platform.python_version()
    assert described["versions"]["torch"] and described["num_cpu_cores"] >= 1


def test_somebody_elses_checkout_is_not_our_commit(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inner = tmp_path / "site-packages"
    inner.mkdir()
    assert environment._describe_commit(inner) is None


def test_a_changed_checkout_is_called_dirty(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    clean = environment._describe_commit(tmp_path.resolve())
    (tmp_path / "file").write_text("two")
    dirty = environment._describe_commit(tmp_path.resolve())
    assert clean is not None and dirty is not None
    assert (clean["dirty"], dirty["dirty"]) == (False, True)
    assert clean["hash"] == dirty["hash"]


def test_importing_it_loads_nothing_but_the_standard_library() -> None:
    program = "import sys, reskd.environment; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_npp_is_looked_for_by_the_names_in_dalis_operators() -> None:
    """Its wheel is no requirement of DALI's, so it is missing wherever CUDA's toolkit is."""
    pytest.importorskip("nvidia.dali")
    assert all(re.fullmatch(r"libnpp[a-z]+\.so\.\d+", name) for name in missing_npp())
