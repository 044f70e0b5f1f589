"""Record a run into a session file.

Frames are recorded before decoding, items before the pipeline, beats as published. A block is
written within `FLUSH` seconds, so killing the process loses no more than that; every `SYNC` seconds
the file is synced to the disk. When the file can no longer be written, recording stops with a
notice, and streaming continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from innpar.devices import Chunk, Device, Event, HostClock, NoticeCode, Tap, notice
from innpar.devices.session.items import (
    ABOUT,
    BEATS,
    BYTES,
    EVENTS,
    JSON,
    LEARNT,
    RAW,
    RUN,
    SAMPLES,
    Topic,
    pack_chunk,
    pack_event,
    to_json,
)
from innpar.devices.session.writer import Writer
from innpar.stream.calibration.types import CuffReading
from innpar.stream.errors import SessionError
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.pseudonym import Pseudonyms
from innpar.stream.results import Beat, Item
from innpar.stream.windows.timing import NORMAL, LatencyMode

log: logging.Logger = logging.getLogger(__name__)

FLUSH = 0.4
"""Longest time that a message waits in memory, s."""
CHECK = 0.1
"""Seconds between two checks whether to flush."""
SYNC = 5.0
"""Seconds between two syncs to the disk."""


class Recorder:
    """Writer of one session file; also a sink, for the beats.

    Args:
        path: A file that does not exist yet, or a folder for a file with a dated name. The file is
            removed again if nothing was recorded.
        clock: Clock of the host, for the time of recording.
        run: Description of the run, from `innpar.stream.app.recording.describe`.
        keep_address: Whether to write radio addresses unchanged, not as pseudonyms that differ
            between files.
        subjects: Device id, or its beginning as given to ``--device``, → subject; "" for all
            devices. A pseudonym is used for devices without a subject.
        tag: End of the dated name in a folder.

    Attributes:
        path: The file.
        failed: Reason why recording stopped; empty while recording.

    Raises:
        SessionError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        clock: HostClock,
        run: Mapping[str, Any],
        *,
        keep_address: bool = False,
        subjects: Mapping[str, str] | None = None,
        tag: str = "",
    ) -> None:
        self._clock = clock
        self._pseudonyms = Pseudonyms(keep=keep_address)
        self._subjects = subjects or {}
        self.path: Path = _named(path, clock, tag)
        self.failed: str = ""
        self._unreported: set[str] = set()
        self._known: set[str] = set()
        self._last: dict[str, int] = {}
        self._learnt: dict[str, CuffReading] = {}
        self._since = 0.0
        self._begun = False
        try:
            self._file = io.FileIO(self.path, "x", opener=_private)
        except FileExistsError:
            raise SessionError(
                f"{self.path}: exists already, and recordings are never overwritten; name another"
            ) from None
        except OSError as error:
            raise _refused(self.path, error) from None
        try:
            self._writer = Writer(self._file, f"innpar-stream {version('innpar-stream')}")
            self._put(RUN, JSON, clock.now(), to_json(self._pseudonyms.hidden(run)))
            self._writer.flush()
        except OSError as error:
            self._remove()
            raise _refused(self.path, error) from None

    def enrol(
        self,
        device: Device,
        session: str,
        require_calibration: bool = False,
        mode: LatencyMode = NORMAL,
    ) -> None:
        """Record the properties of a device that has just been opened, and its run's settings."""
        self._known.add(device.id)
        about = {
            "source": device.source,
            "origin": getattr(device, "origin", device.source),
            "polarity": device.polarity,
            "site": device.site,
            "require_calibration": require_calibration,
            **mode.recorded,
            "session": session,
            "subject": self._subject(device.id),
        }
        self._put(str(Topic(device.id, ABOUT)), JSON, self._clock.now(), to_json(about))

    def _subject(self, device: str) -> str:
        for name, subject in self._subjects.items():
            if not name or device == name or device.startswith(f"{name}-"):
                return subject
        return self._pseudonyms.subject()

    def tap(self, device: Device) -> Tap:
        """Return the function that records a device's frames."""

        def take(channel: str, arrival: int, raw: bytes) -> None:
            self._put(str(Topic(device.id, RAW, channel)), BYTES, arrival, raw)

        return take

    def take(self, item: Chunk | Event) -> list[Event]:
        """Record an item of a device's stream.

        Returns:
            A notice once per device after recording has stopped, for the sinks.
        """
        if isinstance(item, Event):
            topic = str(Topic(item.device, EVENTS))
            event = replace(item, detail=self._pseudonyms.hidden(item.detail))
            self._put(topic, JSON, item.start, pack_event(event))
        else:
            # A message without samples has the time of those before it: it has none of its own.
            at = (
                int(item.times[-1]) if len(item) else self._last.get(item.device, self._clock.now())
            )
            self._last[item.device] = at
            topic, labels = str(Topic(item.device, item.signal)), "\t".join(item.channels)
            self._put(topic, SAMPLES, at, pack_chunk(item), channels=labels)
        if item.device not in self._unreported:
            return []
        self._unreported.discard(item.device)
        code = NoticeCode.RECORDING_FAILED
        return [notice(item.device, self._clock.now(), code, self.failed)]

    async def send(self, item: Item) -> None:
        """Record a beat; see `Sink`."""
        if isinstance(item, Beat):
            topic = str(Topic(item.device, BEATS))
            self._put(topic, JSON, item.peak, to_json(beat_payload(item)))

    def learnt(self, device: str, reading: CuffReading | None, at: int) -> None:
        """Record a reading that has taken effect, for a replay that begins later.

        Args:
            device: Whose.
            reading: With its remembered part; None if it has been withdrawn and none is in effect.
            at: Time of the device's last sample, ns since the Unix epoch.
        """
        before = self._learnt.get(device)
        if before is reading:
            return
        if reading is None:
            assert before is not None
            del self._learnt[device]
            event = before.undone(device, at)
        else:
            self._learnt[device] = reading
            event = reading.event(device)
        self._put(str(Topic(device, LEARNT)), JSON, at, pack_event(event))

    async def ready(self) -> None:
        """Return at once: writing to a file does not wait."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """Flush and sync regularly inside the context; the file is complete afterwards."""
        task = asyncio.create_task(self._watch(), name="recorder")
        try:
            yield self
        finally:
            task.cancel()
            try:
                await asyncio.gather(task, return_exceptions=True)
            finally:
                # In a thread: a disk may be slow, and other wearers stream on.
                await asyncio.shield(asyncio.to_thread(self.close))

    def close(self) -> None:
        """Finish the file, or remove it if nothing was recorded."""
        if self._file.closed:
            return
        if not self._begun:
            self._remove()
            return
        try:
            self._writer.finish()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._fail(error)
        self._file.close()

    def _remove(self) -> None:
        """Remove the empty file."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _put(self, topic: str, encoding: str, at: int, data: bytes, **about: str) -> None:
        if self.failed:
            return
        self._begun |= topic != RUN
        began = time.monotonic()
        try:
            channel = self._writer.channel(topic, encoding, about)
            if not self._writer.pending:
                self._since = began
            self._writer.add(channel, at, self._clock.now(), data)
            if began - self._since >= FLUSH:
                self._flush()
        except OSError as error:
            self._fail(error)

    def _flush(self) -> None:
        self._writer.flush()
        self._since = time.monotonic()

    async def _watch(self) -> None:
        synced = time.monotonic()
        while not self.failed:
            await asyncio.sleep(CHECK)
            if self.failed:
                return
            try:
                if time.monotonic() - self._since >= FLUSH - CHECK:
                    self._flush()
                if not os.fstat(self._file.fileno()).st_nlink:
                    raise FileNotFoundError(2, "the file has been deleted")
                if time.monotonic() - synced >= SYNC:
                    await asyncio.to_thread(os.fsync, self._file.fileno())
                    synced = time.monotonic()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Stop recording; the file so far stays readable."""
        if self.failed:
            return
        self.failed = (
            f"recording to {self.path} has stopped ({error.strerror or error}); streaming continues"
        )
        self._unreported = set(self._known)
        log.warning("%s", self.failed)
        # A full disk has no room for the file's summary; it is readable without.
        with contextlib.suppress(OSError):
            self._writer.finish()
        self._file.close()


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read: it holds a person's data."""
    return os.open(path, flags, 0o600)


def _refused(path: Path, error: OSError) -> SessionError:
    return SessionError(f"{path}: cannot be written ({error.strerror}); name another place")


def place(text: str) -> Path:
    """Return the path of ``--record``; create the folder if it ends with a slash.

    Raises:
        SessionError: The folder cannot be created.
    """
    path = Path(text).expanduser()
    if text.endswith(("/", os.sep)):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(path, error) from None
    return path


def _named(path: Path, clock: HostClock, tag: str = "") -> Path:
    if not path.is_dir():
        return path
    began = datetime.fromtimestamp(clock.now() // 1_000_000_000, UTC)
    name = f"session-{began:%Y-%m-%dT%H%M%SZ}" + (f"-{tag}" if tag else "")
    # Two runs may begin in the same second.
    names = (f"{name}{f'-{n}' if n else ''}.mcap" for n in range(1000))
    return next(path / file for file in names if not (path / file).exists())
