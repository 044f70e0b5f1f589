"""The message of an early beat."""

from __future__ import annotations

import json

import pytest

from innpar.stream.messages.payload import parcel
from innpar.stream.results import CalibrationStatus, EarlyBeat, Latency
from support.items import START
from support.schemas import schema

INTERVAL = (0.9, (112.04, 131.5), (69.1, 81.0))


def early(interval: tuple[float, tuple[float, float], tuple[float, float]] | None) -> EarlyBeat:
    latency = Latency(156.2, 64.0, 480.0, 120.0, 248.0, 1.4)
    status = CalibrationStatus("ok", 12.3, 128.0, 79.0)
    return EarlyBeat(
        "demo", "simulated", "s", 7, START, 121.44, 74.86, interval, 0.934, status, latency, "m@1"
    )


@pytest.mark.parametrize("interval", [None, INTERVAL])
def test_it_keeps_to_its_schema_and_is_not_kept(
    interval: tuple[float, tuple[float, float], tuple[float, float]] | None,
) -> None:
    sent = parcel(early(interval))
    payload = json.loads(sent.payload)
    schema("early").validate(payload)
    assert sent.topics == ("bp/devices/demo/early",)
    assert (sent.qos, sent.retain, sent.durable, sent.expiry) == (0, False, False, 5)
    assert (payload["seq"], payload["sbp"], payload["dbp"]) == (7, 121.4, 74.9)
    assert payload["latency_ms"]["total"] == 156 + 64 + 480 + 120 + 248 + 1
    if interval is not None:
        assert payload["interval"] == {"level": 0.9, "sbp": [112.0, 131.5], "dbp": [69.1, 81.0]}


def test_the_schema_refuses_what_is_no_early_beat() -> None:
    payload = json.loads(parcel(early(INTERVAL)).payload)
    assert not schema("early").is_valid({**payload, "sbp": None})
    assert not schema("early").is_valid({k: v for k, v in payload.items() if k != "seq"})
