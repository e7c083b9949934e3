import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The networks are too small to share between threads, and results then do not depend on the machine."""
    torch.set_num_threads(1)
