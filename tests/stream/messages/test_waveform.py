"""Messages of waveforms."""

from __future__ import annotations

import json

from innpar.stream.messages.payload import parcel
from support.items import wave
from support.schemas import schema


def test_a_waveform_may_be_lost_and_grows_stale() -> None:
    for kind in ("abp", "ppg"):
        sent = parcel(wave(3, kind))
        assert sent.topics == (f"bp/devices/demo/{kind}",)
        assert (sent.qos, sent.retain, sent.durable, sent.expiry) == (0, False, False, 5)
        schema("waveform").validate(json.loads(sent.payload))
    assert json.loads(parcel(wave()).payload)["samples"][:2] == [70.0, 70.4]
