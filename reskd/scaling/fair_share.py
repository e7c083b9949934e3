"""A small event simulation: processes that wait for each other and share resources evenly."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Generator

Process = Generator["Event", None, None]


class Event:
    """Something that happens once; processes wait for it by ``yield``."""

    def __init__(self) -> None:
        self.happened = False
        self.waiting: list[Process] = []


class Simulation:
    """Simulated time, in seconds. Equal instants are taken in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def start(self, process: Process) -> None:
        """Run a process until it waits."""
        for event in process:
            if not event.happened:
                event.waiting.append(process)
                return

    def set(self, event: Event) -> None:
        """Let an event happen now; who waits goes on at this instant, after what is under way."""
        event.happened = True
        for process in event.waiting:
            self.call_at(self.now, lambda process=process: self.start(process))  # type: ignore[misc]
        event.waiting = []

    def set_at(self, time: float) -> Event:
        """An event that happens at ``time``."""
        event = Event()
        self.call_at(time, lambda: self.set(event))
        return event

    def call_at(self, time: float, call: Callable[[], None]) -> None:
        """Call something at ``time``."""
        heapq.heappush(self._calls, (time, next(self._numbers), call))

    def run(self) -> None:
        """Run until nothing is left to happen."""
        while self._calls:
            self.now, _, call = heapq.heappop(self._calls)
            call()


class Shared:
    """A resource whose users get equal shares: cores of a machine, or the bytes that a storage gives.

    Shares are kept by one number, the work that a user would have got who was there from the start: a user who comes at
    4 with 3 units of work is done when that number is 7, whoever comes and goes meanwhile.

    Args:
        capacity: units of work a second, over all users.
        most: units of work a second for one user.
    """

    def __init__(self, simulation: Simulation, capacity: float, most: float = math.inf) -> None:
        self._simulation = simulation
        self._capacity, self._most = capacity, most
        self._given, self._since = 0.0, 0.0
        self._users: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._version = 0

    def use(self, work: float) -> Event:
        """Take ``work`` units; the event is that they are done."""
        self._bring_up_to_date()
        event = Event()
        heapq.heappush(self._users, (self._given + work, next(self._numbers), event))
        self._plan()
        return event

    def _rate(self) -> float:
        return min(self._most, self._capacity / len(self._users))

    def _bring_up_to_date(self) -> None:
        now = self._simulation.now
        if self._users:
            self._given += (now - self._since) * self._rate()
        self._since = now

    def _plan(self) -> None:
        """Ask for the instant at which the next user is done; what was asked for before is void."""
        self._version += 1
        if self._users:
            version, seconds = self._version, max(0.0, self._users[0][0] - self._given) / self._rate()
            self._simulation.call_at(self._simulation.now + seconds, lambda: self._finish(version))

    def _finish(self, version: int) -> None:
        if version != self._version:
            return
        self._bring_up_to_date()
        target, _, event = heapq.heappop(self._users)
        self._given = target  # without the rounding of sums
        self._simulation.set(event)
        self._plan()
