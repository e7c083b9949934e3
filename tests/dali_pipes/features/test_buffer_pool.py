from __future__ import annotations

import torch

from dali_pipes.features.buffer_pool import RecycledMemory


def test_memory_comes_back_when_the_last_that_shares_it_is_gone() -> None:
    source = RecycledMemory((4, 3), most=2)
    first = source.take()
    assert first.dtype == torch.uint8 and tuple(first.shape) == (4, 3)
    address = first.data_ptr()
    row, as_numpy = first[1].view(3), first.numpy()
    del first
    assert source.take().data_ptr() != address
    del row
    assert source.take().data_ptr() != address
    numbers = as_numpy[2:]
    del as_numpy
    assert source.take().data_ptr() != address
    del numbers
    held = [source.take() for _ in range(2)]
    assert address in [tensor.data_ptr() for tensor in held]


def test_tensors_that_are_held_never_share_memory() -> None:
    source = RecycledMemory((10,), most=1)
    held = [source.take().fill_(number) for number in range(5)]
    assert [int(tensor[0]) for tensor in held] == list(range(5))
    del held
    assert len(source._free) == 1


def test_memory_outlives_its_source() -> None:
    tensor = RecycledMemory((5,), most=1).take().fill_(7)
    assert tensor.tolist() == [7] * 5
