"""Everything that the page can show: the newest messages of every wearer, on request."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from innpar.devices import Event
from innpar.stream.messages.beat import beat_payload
from innpar.stream.messages.payload import parcel
from innpar.stream.messages.waveform import waveform_payload
from innpar.stream.results import Beat, DeviceInfo, EarlyBeat, Item, State, Summary, Waveform
from innpar.stream.view.gates import GATES
from innpar.stream.view.history import WearerHistory

MOST = 256
"""Wearers; messages of more are ignored."""
_KIND_OF: dict[type, str] = {DeviceInfo: "meta", Event: "events", Summary: "summary"}


class Board:
    """Sink that keeps what the page shows; viewers ask for it, and nothing waits for them.

    Attributes:
        status: Function that returns the state of the run, as JSON.
    """

    def __init__(self) -> None:
        self.status: Callable[[], Mapping[str, Any]] = dict
        self._wearers: dict[str, WearerHistory] = {}
        self._n = 0
        self._epoch = secrets.token_hex(4)
        self._news = asyncio.Event()

    async def ready(self) -> None:
        """Return at once: a viewer cannot delay a run."""

    async def send(self, item: Item) -> None:
        """Keep an item of a run."""
        if isinstance(item, EarlyBeat):  # the beat itself follows
            return
        if isinstance(item, Beat):
            self.take(item.device, "beats", beat_payload(item))
        elif isinstance(item, Waveform):
            self.take(item.device, item.kind, waveform_payload(item))
        elif isinstance(item, State):
            self.take(item.device, "state", {"state": item.state})
        else:
            payload = json.loads(parcel(item).payload)
            self.take(item.device, _KIND_OF[type(item)], payload)

    def take(self, device: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Keep a message of the MQTT contract.

        Args:
            device: Id of the device.
            kind: Last level of its topic.
            payload: Its content; ``{"state": …}`` for a state.
        """
        history = self._wearers.get(device)
        if history is None:
            if len(self._wearers) >= MOST:
                return
            history = self._wearers[device] = WearerHistory(device)
        self._n += 1
        history.take(kind, payload, self._n, round(time.monotonic(), 3))
        self._news.set()

    def clear(self) -> None:
        """Forget every wearer; the next answers are fresh."""
        self._wearers.clear()
        self._epoch = secrets.token_hex(4)
        self._news.set()

    async def answer(self, epoch: str, after: int, patience: float) -> str:
        """Return what followed message `after`, as a JSON object.

        Args:
            epoch: Of the viewer's last answer; another one, as after a restart, gives everything.
            after: Number of the last message that the viewer has; 0 for none.
            patience: s to wait for something new.
        """
        if epoch != self._epoch:
            after = 0
        elif after == self._n:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._news.wait()
        parts = [history.after(after) for history in self._wearers.values()]
        wearers = ",".join(part for part in parts if part is not None)
        now = round(time.monotonic(), 3)
        run = json.dumps(self.status())
        head = f'"epoch":"{self._epoch}","last":{self._n},"now":{now},"run":{run}'
        if after == 0:
            head += f',"gates":{json.dumps(GATES)}'
        return f'{{{head},"wearers":[{wearers}]}}'

    @property
    def size(self) -> int:
        """Bytes held, of all wearers."""
        return sum(history.size for history in self._wearers.values())
