from __future__ import annotations

import pytest

from reskd.scaling.fair_share import Event, Process, Shared, Simulation


def test_users_get_equal_shares_while_they_are_there() -> None:
    """Two units a second: one user alone gets one; three get two thirds each; who came first is done first."""
    simulation, done = Simulation(), {}
    cores = Shared(simulation, capacity=2.0, most=1.0)

    def user(name: str, start: float, work: float) -> Process:
        yield simulation.set_at(start)
        yield cores.use(work)
        done[name] = simulation.now

    for name, start, work in (("alone", 0.0, 1.0), ("first", 2.0, 2.0), ("second", 2.0, 4.0), ("third", 2.0, 4.0)):
        simulation.start(user(name, start, work))
    simulation.run()
    # The first has 2 units after 3 s; the others then have 2 left, and a unit a second each.
    assert done == pytest.approx({"alone": 1.0, "first": 5.0, "second": 7.0, "third": 7.0})


def test_a_storage_gives_all_to_one_who_is_alone() -> None:
    simulation = Simulation()
    storage = Shared(simulation, capacity=10.0)
    done = []

    def user() -> Process:
        yield storage.use(20.0)
        done.append(simulation.now)
        yield storage.use(0.0)
        done.append(simulation.now)

    simulation.start(user())
    simulation.run()
    assert done == [2.0, 2.0]


def test_an_event_wakes_all_who_wait_and_none_waits_for_one_that_happened() -> None:
    simulation, event, seen = Simulation(), Event(), []

    def waiting(name: str) -> Process:
        yield event
        seen.append((name, simulation.now))

    simulation.start(waiting("one"))
    simulation.start(waiting("other"))
    simulation.call_at(3.0, lambda: simulation.set(event))
    simulation.call_at(4.0, lambda: simulation.start(waiting("late")))
    simulation.run()
    assert seen == [("one", 3.0), ("other", 3.0), ("late", 4.0)]
