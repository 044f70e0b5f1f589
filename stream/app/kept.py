"""Data of one wearer that outlive a run on this computer: found, and removed on request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from innpar.devices import DeviceError
from innpar.devices.session.contents import devices_in
from innpar.devices.session.reader import SessionFile
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.errors import SessionError
from innpar.stream.mqtt.outgoing.outbox import topics_of
from innpar.stream.mqtt.outgoing.spool import Spool
from innpar.stream.mqtt.outgoing.spool_lock import holding


@dataclass(frozen=True, slots=True)
class KeptData:
    """Data of a device in a state folder.

    Attributes:
        device: Id of the device.
        files: Calibration, sensor address, and recordings begun by command.
        spools: Folder of undelivered messages → how many are of the device.
    """

    device: str
    files: list[Path]
    spools: dict[Path, int]

    @classmethod
    def find(cls, device: str, state: Path) -> KeptData:
        """Find the data of a device.

        Raises:
            SessionError: A run uses a spool now.
        """
        files = [CalibrationStore(state).path(device), *_addresses(device, state / "address")]
        files += _recordings(device, state / "recordings")
        spools = {folder: _count(folder, device) for folder in sorted((state / "spool").glob("*"))}
        return cls(
            device,
            [path for path in files if path.is_file()],
            {folder: count for folder, count in spools.items() if count},
        )

    def lines(self) -> Iterator[str]:
        """Yield one line about each file and each spool."""
        yield from map(str, self.files)
        for folder, count in self.spools.items():
            yield f"{folder}: {count} undelivered messages"

    def remove(self) -> None:
        """Remove everything that was found.

        Raises:
            SessionError: A run uses a spool now, or a file cannot be removed.
        """
        for folder in self.spools:
            _remove_spooled(folder, self.device)
        for path in self.files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise SessionError(f"{path}: cannot be removed ({error.strerror})") from None


def _addresses(device: str, folder: Path) -> Iterator[Path]:
    """Yield the files with a sensor's address: by its id, and by the kind that begins its id."""
    for path in sorted(folder.glob("*.json")):
        if path.stem == device or device.startswith(f"{path.stem}-"):
            yield path


def _recordings(device: str, folder: Path) -> Iterator[Path]:
    """Yield the recordings begun by command; a number may follow the device in their names."""
    name = re.compile(rf"session-[^Z]*Z-{re.escape(device)}(-\d+)?\.mcap")
    for path in sorted(folder.glob("session-*.mcap")):
        if found := name.fullmatch(path.name):
            try:
                with SessionFile(path) as file:
                    if set(devices_in(file)) <= {device}:
                        yield path
            except DeviceError:
                if found[1] is None:
                    yield path


def _is_of(record: bytes, device: str) -> bool:
    return any(f"/devices/{device}/" in topic for topic in topics_of(record))


def _records(spool: Spool) -> Iterator[bytes]:
    while (found := spool.read()) is not None:
        yield found[0]


def _count(folder: Path, device: str) -> int:
    """Return the number of a device's messages in a spool.

    Raises:
        SessionError: A run uses it now.
    """
    with holding(folder):
        spool = Spool(folder, limit=2**62)
        try:
            return sum(_is_of(record, device) for record in _records(spool))
        finally:
            spool.close()


def _remove_spooled(folder: Path, device: str) -> None:
    """Remove a device's messages from a spool; the others keep their order.

    The others are written again before the old ones are given up, so a crash in between repeats
    some of them and loses none. Those that the broker would not take go altogether.
    """
    with holding(folder):
        spool = Spool(folder, limit=2**62)
        try:
            others = [record for record in _records(spool) if not _is_of(record, device)]
            spool.rewind()
            end = spool.first
            while (found := spool.read()) is not None:
                end = found[1]
            for record in others:
                spool.append(record)
            spool.done(end) if others else spool.clear()
        finally:
            spool.close()
        (folder / "aside").unlink(missing_ok=True)
