"""Recent messages of one wearer, encoded for the page, in bounded memory."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from innpar.stream.view.trend import PressureTrend

WAVES, BEATS, EVENTS, READINGS, LATEST = 32_000, 26_000, 6_000, 3_000, 2_000
"""Bytes kept of waveforms (a sweep of 30 s), beats, events, cuff readings and their withdrawals,
and each latest message."""
SCALE = {"abp": 100, "ppg": 1000}
"""Kind of waveform → encoded units per mmHg, or per standard deviation."""
MISSING = -(2**15)
"""Encoded value of a sample that is not known."""

_LATEST = ("meta", "state", "summary")
_BEAT = (
    *("source", "seq", "t", "sbp", "dbp", "map", "hr", "interval", "reference", "quality", "valid"),
    *("reasons", "calibration", "latency_ms", "delay_ms", "late", "queued_ms", "clock"),
)
_EVENT_TEXT = 300


class MessageRing:
    """The newest messages, as many as a number of bytes can hold.

    Args:
        limit: Bytes.

    Attributes:
        lost: Number of the newest message that is no longer kept.
        size: Bytes held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: deque[tuple[int, str]] = deque()
        self.lost = 0
        self.size = 0

    def append(self, n: int, text: str) -> None:
        """Keep message `n`; the oldest make room."""
        self._kept.append((n, text))
        self.size += len(text)
        while self.size > self._limit:
            self.lost, old = self._kept.popleft()
            self.size -= len(old)

    def after(self, n: int) -> Iterator[tuple[int, str]]:
        """Iterate over the messages after `n`, newest first."""
        for one in reversed(self._kept):
            if one[0] <= n:
                return
            yield one


class WearerHistory:
    """Recent messages of a wearer: at most 100 kB, whatever arrives."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._session: object = None
        self._begin()
        self._events, self._readings = MessageRing(EVENTS), MessageRing(READINGS)
        self._latest: dict[str, tuple[int, str]] = {}
        self._began = 0

    def _begin(self) -> None:
        self._waves, self._beats = MessageRing(WAVES), MessageRing(BEATS)
        self._trend = PressureTrend()
        self._lost = self._uncounted = 0
        self._since: float | None = None

    @property
    def size(self) -> int:
        """Bytes held in texts and in the trend."""
        latest = sum(len(text) for _, text in self._latest.values())
        rings = (self._waves, self._beats, self._events, self._readings)
        return sum(ring.size for ring in rings) + latest + self._trend.size

    def take(self, kind: str, payload: Mapping[str, Any], n: int, arrival: float) -> None:
        """Keep a message of the MQTT contract.

        Args:
            kind: Last level of its topic.
            payload: Its content; ``{"state": …}`` for a state.
            n: Its number.
            arrival: By the page's clock, s.
        """
        if kind in ("abp", "ppg"):
            self._restart(payload, n)
            self._wave(kind, payload, n)
        elif kind == "beats":
            self._restart(payload, n)
            self._trend.push(payload, n)
            self._beats.append(n, self._beat(payload, n, arrival))
        elif kind == "events":
            cuff = payload.get("kind") in ("cuff", "cuff_undone")
            ring = self._readings if cuff else self._events
            ring.append(n, self._event(payload, n))
            self._count(payload)
        elif kind in _LATEST:
            body = {"kind": kind, "n": n, "arrival": arrival, "body": dict(payload)}
            if len(text := _json(body)) <= LATEST:
                self._latest[kind] = (n, text)

    def after(self, n: int) -> str | None:
        """Return what followed message `n` as a JSON object; None without any.

        An ``n`` of 0, or older than what is kept, gives everything, marked ``fresh``. ``lost``:
        samples lost since the session began, gaps without a known number, time of its beginning.
        """
        fresh = n == 0 or n < max(self._began, self._waves.lost, self._beats.lost)
        since = 0 if fresh else n
        found = sorted(self._messages(since))
        trend = self._trend.after(since)
        if not (found or trend or fresh):
            return None
        texts = ",".join(text for _, text in found)
        device = json.dumps(self._device)
        lost = _json([self._lost, self._uncounted, self._since])
        return (
            f'{{"device":{device},"fresh":{"true" if fresh else "false"},"lost":{lost},'
            f'"trend":{_json(trend)},"items":[{texts}]}}'
        )

    def _messages(self, n: int) -> Iterator[tuple[int, str]]:
        yield from (one for one in self._latest.values() if one[0] > n)
        for ring in (self._waves, self._beats, self._events, self._readings):
            yield from ring.after(n)

    def _restart(self, payload: Mapping[str, Any], n: int) -> None:
        """Forget the waveforms and the trend of another session of this device."""
        session = payload.get("session")
        if self._session not in (None, session):
            self._begin()
            self._began = n
        self._session = session

    def _count(self, payload: Mapping[str, Any]) -> None:
        """Count the samples of a gap in the PPG."""
        detail = payload.get("detail") or {}
        inside = payload.get("end") or 0
        if payload.get("kind") != "gap" or detail.get("signal", "ppg") != "ppg":
            return
        if isinstance(lost := detail.get("lost"), int):
            self._lost += max(0, lost)
        elif inside > (payload.get("t") or 0):
            self._uncounted += 1

    def _wave(self, kind: str, payload: Mapping[str, Any], n: int) -> None:
        t, rate = float(payload["t"]), float(payload["rate"])
        self._since = t if self._since is None else self._since
        samples = payload["samples"][:2048]
        body = {"kind": kind, "n": n, "t": t, "rate": rate, "scale": SCALE[kind]}
        text = _json({**body, "data": encoded(samples, SCALE[kind])})
        self._waves.append(n, text)

    def _beat(self, payload: Mapping[str, Any], n: int, arrival: float) -> str:
        body = {key: payload[key] for key in _BEAT if key in payload}
        if isinstance(reasons := body.get("reasons"), list):
            body["reasons"] = [str(reason)[:40] for reason in reasons[:8]]
        abp = payload.get("abp") or {}
        rate = float(abp.get("rate") or 0)
        data = encoded((abp.get("samples") or [])[:512], SCALE["abp"])
        wave = {"t": abp.get("start"), "rate": rate, "scale": SCALE["abp"], "data": data}
        return _json({"kind": "beat", "n": n, "arrival": arrival, **body, "abp": wave})

    def _event(self, payload: Mapping[str, Any], n: int) -> str:
        detail = payload.get("detail") or {}
        short = {
            key: value[:_EVENT_TEXT] if isinstance(value, str) else value
            for key, value in detail.items()
        }
        body = {"kind": "event", "n": n, "event": payload.get("kind"), "t": payload.get("t")}
        text = _json({**body, "end": payload.get("end"), "detail": short})
        return text if len(text) <= 800 else _json({**body, "detail": {}})


def encoded(samples: Any, scale: float) -> str:
    """Return samples as base64 of little-endian int16; None and NaN as `MISSING`."""
    values = np.array([np.nan if value is None else value for value in samples], float)
    whole = np.where(np.isfinite(values), np.clip(values * scale, -32767, 32767), MISSING)
    return base64.b64encode(np.round(whole).astype("<i2").tobytes()).decode()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
