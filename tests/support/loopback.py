"""LSL on this computer alone. Import before pylsl: liblsl reads its settings once a process."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

# A session id of its own keeps two test runs on one computer from hearing each other.
SETTINGS = f"""\
[ports]
IPv6 = disable
[multicast]
ResolveScope = machine
ListenAddress = 127.0.0.1
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = test-{os.getpid()}
[log]
level = -3
"""


def _load() -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lsl_api.cfg"
        file.write_text(SETTINGS)
        before = os.environ.get("LSLAPICFG")
        os.environ["LSLAPICFG"] = str(file)
        import pylsl

        pylsl.local_clock()
        pylsl.resolve_byprop("name", "nobody", 1, 0.01)  # now the settings have been read
        if before is None:
            del os.environ["LSLAPICFG"]
    return pylsl


lsl = _load()


class Sender:
    """An outlet that sends the sample's number on a thread of its own, until it is closed.

    Args:
        stamp: Sample number → LSL time, s; None for evenly from its beginning.
        every: Number of samples sent at once.
        first: Number of the first sample.
        skip: Samples not sent.
        row: Sample number → its values; None for the number in each column.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: float = 100.0,
        source_id: str = "",
        kind: str = "PPG",
        labels: tuple[str, ...] = ("PPG1",),
        nominal: float | None = None,
        stamp: Callable[[int], float] | None = None,
        every: int = 1,
        first: int = 0,
        skip: Callable[[int], bool] = lambda _: False,
        row: Callable[[int], Sequence[float]] | None = None,
    ) -> None:
        info = lsl.StreamInfo(
            name, kind, len(labels), rate if nominal is None else nominal, "double64", source_id
        )
        node = info.desc().append_child("channels")
        for label in labels:
            child = node.append_child("channel")
            child.append_child_value("label", label)
        self._outlet = lsl.StreamOutlet(info)
        self._rate, self._every, self._skip = rate, every, skip
        self._row = row or (lambda number: [number + 1e6 * k for k in range(len(labels))])
        self.began = began = lsl.local_clock()
        self._stamp = stamp or (lambda number: began + (number - first) / rate)
        self.sent = first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sender {name}")
        self._thread.start()

    def _run(self) -> None:
        first = self.sent
        while not self._over.is_set():
            due = self.began + (self.sent - first + self._every) / self._rate
            if (left := due - lsl.local_clock()) > 0:
                time.sleep(left)
            for number in range(self.sent, self.sent + self._every):
                if not self._skip(number):
                    self._outlet.push_sample(list(self._row(number)), self._stamp(number))
            self.sent += self._every

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        del self._outlet

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._over.is_set():
            self.close()


def numbers(data: np.ndarray) -> list[int]:
    """Return the sample numbers written into a chunk's first column."""
    return [int(value) for value in data[:, 0]]
