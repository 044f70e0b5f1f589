"""Recorders of a run: one for the whole run, and one per device that is recorded by command.

A recording that starts while a device streams begins with a gap, after which both live run and
replay start from scratch, and with the current calibration; so its replay equals the live run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from innpar.devices import Chunk, Device, Event, Tap
from innpar.devices.session.contents import LASTING
from innpar.stream.calibration.types import CuffReading
from innpar.stream.errors import SessionError
from innpar.stream.results import Item
from innpar.stream.session.recorder import Recorder
from innpar.stream.windows.timing import NORMAL, LatencyMode

Begin = Callable[[Path | None, str], Recorder]
"""Function from a path (None for the default folder) and a tag for the name to a recorder."""


class Recorders:
    """All recorders of a run, with the interface of one.

    Args:
        begin: Function that creates a recorder.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._all: Recorder | None = None
        self._own: dict[str, tuple[Recorder, AsyncExitStack]] = {}
        self._enrolled: dict[str, tuple[Device, str, bool, LatencyMode]] = {}
        self._lasting: dict[str, dict[str, Event]] = {}

    @asynccontextmanager
    async def running(self, path: Path | None) -> AsyncIterator[Recorder | None]:
        """Record the whole run to `path`, unless None; every file is complete afterwards.

        Raises:
            SessionError: The file cannot be written.
        """
        async with AsyncExitStack() as stack:
            if path is not None:
                self._all = await stack.enter_async_context(self._begin(path, "").running())
            try:
                yield self._all
            finally:
                for device in list(self._own):
                    await self.stop(device)

    async def start(self, device: str, waiting: Sequence[Event] = ()) -> Path:
        """Start recording one streaming device; return the file.

        Args:
            device: Id of the device.
            waiting: Received events that have not taken effect yet.

        Raises:
            SessionError: The device is being recorded already, or cannot be.
        """
        if device not in self._enrolled:
            raise SessionError(f"{device} is not streaming; try again later")
        if self._all is not None and not self._all.failed:
            raise SessionError(f"{device} is being recorded already, to {self._all.path.name}")
        if device in self._own:
            if not self._own[device][0].failed:
                raise SessionError(f"{device} is being recorded already; stop that recording first")
            await self.stop(device)
        recorder, stack = self._begin(None, device), AsyncExitStack()
        await stack.enter_async_context(recorder.running())
        recorder.enrol(*self._enrolled[device])
        for event in (*self._lasting.get(device, {}).values(), *waiting):
            recorder.take(event)
        self._own[device] = recorder, stack
        return recorder.path

    async def stop(self, device: str) -> Path:
        """Stop recording one device; return the file.

        Raises:
            SessionError: The device is not being recorded by a command.
        """
        if device not in self._own:
            whole = (
                "; the recording of the whole run ends with the run"
                if self._all is not None
                else ""
            )
            raise SessionError(f"{device} is not being recorded by a command{whole}")
        recorder, stack = self._own.pop(device)
        await stack.aclose()
        return recorder.path

    @property
    def files(self) -> dict[str, Path]:
        """Id of each device → file that it is being recorded to."""
        found = {} if self._all is None else dict.fromkeys(self._enrolled, self._all.path)
        return found | {device: recorder.path for device, (recorder, _) in self._own.items()}

    def enrol(
        self,
        device: Device,
        session: str,
        require_calibration: bool = False,
        mode: LatencyMode = NORMAL,
    ) -> None:
        """Record the properties of a device that has just been opened; see `Recorder`."""
        self._enrolled[device.id] = device, session, require_calibration, mode
        for recorder in self._of(device.id):
            recorder.enrol(device, session, require_calibration, mode)

    def tap(self, device: Device) -> Tap:
        """Return the function that records a device's frames."""

        def take(channel: str, arrival: int, raw: bytes) -> None:
            for recorder in self._of(device.id):
                recorder.tap(device)(channel, arrival, raw)

        return take

    def take(self, item: Chunk | Event) -> list[Event]:
        """Record an item; return notices for the sinks, see `Recorder`."""
        if isinstance(item, Event) and item.kind in LASTING:
            lasting = self._lasting.setdefault(item.device, {})
            lasting.pop(item.kind, None)  # keeps the newest last
            lasting[item.kind] = item
        return [event for recorder in self._of(item.device) for event in recorder.take(item)]

    def learnt(self, device: str, reading: CuffReading | None, at: int) -> None:
        """Record a reading that has taken effect; see `Recorder`."""
        for recorder in self._of(device):
            recorder.learnt(device, reading, at)

    async def ready(self) -> None:
        """Return at once: writing to a file does not wait."""

    async def send(self, item: Item) -> None:
        """Record a beat; see `Sink`."""
        for recorder in self._of(item.device):
            await recorder.send(item)

    def _of(self, device: str) -> list[Recorder]:
        own = [self._own[device][0]] if device in self._own else []
        return own if self._all is None else [self._all, *own]
