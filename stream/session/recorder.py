"""What a run records of itself, ahead of anything that could go wrong with it.

Frames before they are decoded, items before the pipeline gets them, beats as they are published. A
block reaches the file after `FLUSH` seconds, so that killing the process loses no more than that;
every `SYNC` seconds the file is made to survive the computer too. When the file cannot be written
any more, recording stops and says so, and streaming goes on.
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
from innpar.stream.calibration.store import StoredCalibration
from innpar.stream.errors import SessionError
from innpar.stream.messages.payload import beat_payload
from innpar.stream.messages.pseudonym import Pseudonyms
from innpar.stream.results import Beat, Item

log: logging.Logger = logging.getLogger(__name__)

FLUSH = 0.4
"""Seconds that a message may wait in memory, at most; the check itself takes a little."""
CHECK = 0.1
SYNC = 5.0
"""Seconds between two requests to the disk to keep what it was given."""


class Recorder:
    """Writes one session file; also a sink, for the beats.

    Args:
        path: A file that does not exist yet, or a folder, in which it gets a dated name. It is
            removed again where nothing came to be recorded.
        clock: The host's; it says when something was recorded.
        run: What is running, as `recording.describe` returns it.
        keep_address: Whether radio addresses are written as they are, not as a pseudonym that
            differs from file to file.
        subjects: Who wears what, by the id a device was asked for by, which may be the beginning
            of the one it has; "" for everybody. A pseudonym where nobody is named.
        tag: Ends the dated name of a file in a folder.

    Attributes:
        path: The file.
        failed: Why recording stopped; empty while it goes on.

    Raises:
        SessionError: It cannot be written there.
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
        self._untold: set[str] = set()
        self._known: set[str] = set()
        self._learnt: dict[str, StoredCalibration] = {}
        self._since = 0.0
        self._begun = False
        try:
            self._file = io.FileIO(self.path, "x")
        except FileExistsError:
            raise SessionError(
                f"{self.path}: exists already, and a recording is never overwritten; name another"
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

    def enrol(self, device: Device, session: str, require_calibration: bool = False) -> None:
        """Note what is known of a device that has just been opened, and what steers its run."""
        self._known.add(device.id)
        told = {
            "source": device.source,
            "origin": getattr(device, "origin", device.source),
            "polarity": device.polarity,
            "site": device.site,
            "require_calibration": require_calibration,
            "session": session,
            "subject": self._subject(device.id),
        }
        self._put(str(Topic(device.id, ABOUT)), JSON, self._clock.now(), to_json(told))

    def _subject(self, device: str) -> str:
        for name, subject in self._subjects.items():
            if not name or device == name or device.startswith(f"{name}-"):
                return subject
        return self._pseudonyms.subject()

    def tap(self, device: Device) -> Tap:
        """Return what takes a device's frames."""

        def take(channel: str, arrival: int, raw: bytes) -> None:
            self._put(str(Topic(device.id, RAW, channel)), BYTES, arrival, raw)

        return take

    def take(self, item: Chunk | Event) -> list[Event]:
        """Record an item of a device's stream.

        Returns:
            What is to be told to whoever listens, once a device: that recording has stopped.
        """
        if isinstance(item, Event):
            topic = str(Topic(item.device, EVENTS))
            told = replace(item, detail=self._pseudonyms.hidden(item.detail))
            self._put(topic, JSON, item.start, pack_event(told))
        else:
            at = int(item.times[-1]) if len(item) else 0
            topic, labels = str(Topic(item.device, item.signal)), "\t".join(item.channels)
            self._put(topic, SAMPLES, at, pack_chunk(item), channels=labels)
        if item.device not in self._untold:
            return []
        self._untold.discard(item.device)
        code = NoticeCode.RECORDING_FAILED
        return [notice(item.device, self._clock.now(), code, self.failed)]

    async def send(self, item: Item) -> None:
        """Record a beat; see `Sink`."""
        if isinstance(item, Beat):
            topic = str(Topic(item.device, BEATS))
            self._put(topic, JSON, item.peak, to_json(beat_payload(item)))

    def learnt(self, device: str, kept: StoredCalibration, at: int) -> None:
        """Record a reading that has taken effect, for a replay that begins later.

        Args:
            device: Whose.
            kept: The reading, with what was learnt from it.
            at: Time of the device's last sample, ns since the Unix epoch.
        """
        if self._learnt.get(device) is not kept:
            self._learnt[device] = kept
            told = pack_event(kept.event(device, kept.reading.time))
            self._put(str(Topic(device, LEARNT)), JSON, at, told)

    async def ready(self) -> None:
        """Return at once: a file takes what it is given."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """Write in time while inside; the file is whole afterwards."""
        task = asyncio.create_task(self._watch(), name="recorder")
        try:
            yield self
        finally:
            task.cancel()
            try:
                await asyncio.gather(task, return_exceptions=True)
            finally:
                self.close()

    def close(self) -> None:
        """Finish the file, or remove it where nothing came to be recorded."""
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
        """Leave no file in which there is nothing."""
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
        """Stop recording; what has been written stays readable."""
        if self.failed:
            return
        self.failed = (
            f"recording to {self.path} has stopped ({error.strerror or error}); streaming goes on"
        )
        self._untold = set(self._known)
        log.warning("%s", self.failed)
        # On a full disk there is no room for a summary; without it the file is read all the same.
        with contextlib.suppress(OSError):
            self._writer.finish()
        self._file.close()


def _refused(path: Path, error: OSError) -> SessionError:
    return SessionError(f"{path}: cannot be recorded to ({error.strerror}); name another place")


def place(text: str) -> Path:
    """Return where to record, as somebody wrote it; a folder that ends with a slash is made.

    Raises:
        SessionError: It cannot be made.
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
