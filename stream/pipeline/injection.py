"""The queue by which events from outside enter a wearer's stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from innpar.devices import Event
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.errors import SessionError

ROOM = 64
FULL = "too many commands are waiting; try again"


class InjectionQueue:
    """Markers, cuff readings and notices that wait for a place between the wearer's samples.

    An event takes its place when the next samples arrive, a planned reading when the signal has
    reached its second. From there on it is recorded with the samples, and a replay finds it in the
    same place.

    Args:
        planned: Cuff readings given before the run.

    Attributes:
        planned: Those that the signal has not reached yet, in order of time.
    """

    def __init__(self, planned: Sequence[PlannedCuff] = ()) -> None:
        self.planned = sorted(planned, key=lambda cuff: cuff.seconds)
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        """Return the number of events, planned readings not included."""
        return len(self._events)

    @property
    def room(self) -> int:
        """Number of events that can be added."""
        return ROOM - len(self._events)

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that wait, planned readings not included."""
        return tuple(self._events)

    def put(self, event: Event) -> None:
        """Add an event.

        Raises:
            SessionError: There is no room for it.
        """
        if not self.room:
            raise SessionError(FULL)
        self._events.append(event)

    def take(self, device: str, first: int, last: int) -> list[Event]:
        """Return the events that are due.

        Args:
            device: Id of the wearer's device.
            first: Time of the stream's first sample, ns since the Unix epoch.
            last: Time of its newest PPG sample, ns since the Unix epoch.
        """
        events = list(self._events)
        self._events.clear()
        while self.planned and (reading := self.planned[0].reading(first)).time <= last:
            self.planned.pop(0)
            events.append(reading.event(device))
        return events
