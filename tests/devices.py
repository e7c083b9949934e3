"""Tests that run on the CPU here, and on a GPU where there is one: ``reskd gpu-check`` runs those marked gpu."""

from __future__ import annotations

import pytest
import torch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = pytest.param("cuda", marks=(pytest.mark.gpu, needs_gpu))
DEVICES = ("cpu", CUDA)
