from __future__ import annotations

import pytest
import torch
from torch import nn

from reskd.training.recipes.weight_averaging import average_of
from reskd.training.settings.recipes import AverageConfig
from tests.reskd.training.tiny import TinyRecognizer


def test_an_average_is_the_formula_over_parameters_and_statistics_and_copies_counters() -> None:
    network = TinyRecognizer()
    average = average_of(network, AverageConfig(decay=0.9, warmup=False))
    assert average is not None
    expected = {name: value.clone().double() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    for step in range(1, 6):
        network(torch.randint(0, 255, (2, 2, 8, 8, 3))).logits_NK.square().sum().backward()
        optimizer.step()
        average.update(step)
        for name, value in network.state_dict().items():
            expected[name] = 0.9 * expected[name] + 0.1 * value.double()
    for name, value in average.network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 5
        else:
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert not average.network.training and not any(one.requires_grad for one in average.network.parameters())
    assert network.training and all(one.requires_grad for one in network.parameters())


def test_warmup_forgets_the_start_weights_soon() -> None:
    config = AverageConfig(decay=0.999)
    assert [config.decay_at(step) for step in (1, 10)] == [2 / 11, 11 / 20]
    assert config.decay_at(100_000) == 0.999
    assert AverageConfig(decay=0.999, warmup=False).decay_at(1) == 0.999


def test_what_is_not_trained_keeps_its_bits() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[0].requires_grad_(False)
    average = average_of(network, AverageConfig(decay=0.3))
    assert average is not None
    with torch.no_grad():
        network[1].weight += 1
    for step in range(1, 50):
        average.update(step)
    averaged = average.network.state_dict()
    assert torch.equal(averaged["0.weight"], network[0].weight)
    torch.testing.assert_close(averaged["1.weight"], network[1].weight)


def test_the_average_of_a_compiled_network_is_a_plain_one() -> None:
    network = nn.Sequential(nn.Linear(3, 3))
    network.compile(backend="eager")
    average = average_of(network, AverageConfig())
    assert average is not None and average.network._compiled_call_impl is None


def test_without_settings_there_is_none() -> None:
    assert average_of(nn.Linear(1, 1), None) is None


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        AverageConfig(decay=decay)
