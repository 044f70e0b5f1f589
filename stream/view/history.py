"""Recent messages of one wearer, encoded for the page, in bounded memory."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from innpar.stream.view.trend import Trend

WAVES = 31.0
"""s of waveform kept: the longest sweep and a second."""
SCALE = {"abp": 100, "ppg": 1000}
"""Kind of waveform → encoded units per mmHg, or per standard deviation."""
MISSING = -(2**15)
"""Encoded value of a sample that is not known."""

_LATEST = ("meta", "state", "summary")
_BEAT = (
    *("source", "seq", "t", "sbp", "dbp", "map", "hr", "interval", "reference", "quality", "valid"),
    *("reasons", "calibration", "latency_ms", "clock"),
)
_EVENT_TEXT = 300


class WearerHistory:
    """Recent messages of a wearer: at most 100 kB, whatever arrives.

    Attributes:
        lost: Number of the newest message that is no longer kept.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._session: object = None
        self._waves: deque[tuple[int, float, str]] = deque(maxlen=96)
        self._beats: deque[tuple[int, str]] = deque(maxlen=32)
        self._events: deque[tuple[int, str]] = deque(maxlen=48)
        self._latest: dict[str, tuple[int, str]] = {}
        self._trend = Trend()
        self.lost = 0

    @property
    def size(self) -> int:
        """Bytes held in texts and in the trend."""
        texts = [text for _, _, text in self._waves]
        rest = (*self._beats, *self._events, *self._latest.values())
        return sum(map(len, texts)) + sum(len(text) for _, text in rest) + self._trend.size

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
            self._append(self._beats, n, self._beat(payload, n, arrival))
        elif kind == "events":
            self._append(self._events, n, self._event(payload, n))
        elif kind in _LATEST:
            body = {"kind": kind, "n": n, "arrival": arrival, "body": dict(payload)}
            if len(text := _json(body)) <= 4000:
                self._latest[kind] = (n, text)

    def after(self, n: int) -> str | None:
        """Return what followed message `n` as a JSON object; None without any.

        An ``n`` of 0, or older than what is kept, gives everything, marked ``fresh``.
        """
        fresh = n == 0 or n < self.lost
        since = 0 if fresh else n
        found = sorted(self._messages(since))
        trend = self._trend.after(since)
        if not (found or trend or fresh):
            return None
        texts = ",".join(text for _, text in found)
        device = json.dumps(self._device)
        return (
            f'{{"device":{device},"fresh":{"true" if fresh else "false"},'
            f'"trend":{_json(trend)},"items":[{texts}]}}'
        )

    def _messages(self, n: int) -> Iterator[tuple[int, str]]:
        yield from (one for one in self._latest.values() if one[0] > n)
        for number, _, text in reversed(self._waves):
            if number <= n:
                break
            yield number, text
        for kept in (self._beats, self._events):
            for one in reversed(kept):
                if one[0] <= n:
                    break
                yield one

    def _restart(self, payload: Mapping[str, Any], n: int) -> None:
        """Forget the waveforms and the trend of another session of this device."""
        session = payload.get("session")
        if self._session not in (None, session):
            self._waves.clear()
            self._beats.clear()
            self._trend = Trend()
            self.lost = n
        self._session = session

    def _append(self, kept: deque[tuple[int, str]], n: int, text: str) -> None:
        if len(kept) == kept.maxlen:
            self.lost = max(self.lost, kept[0][0])
        kept.append((n, text))

    def _wave(self, kind: str, payload: Mapping[str, Any], n: int) -> None:
        t, rate = float(payload["t"]), float(payload["rate"])
        samples = payload["samples"][:2048]
        body = {"kind": kind, "n": n, "t": t, "rate": rate, "scale": SCALE[kind]}
        text = _json({**body, "data": encoded(samples, SCALE[kind])})
        while self._waves and (
            t - self._waves[0][1] > WAVES or len(self._waves) == self._waves.maxlen
        ):
            self.lost = max(self.lost, self._waves.popleft()[0])
        self._waves.append((n, t, text))

    def _beat(self, payload: Mapping[str, Any], n: int, arrival: float) -> str:
        body = {key: payload[key] for key in _BEAT if key in payload}
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
