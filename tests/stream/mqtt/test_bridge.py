"""The bridge's own messages."""

from __future__ import annotations

import json

from innpar.stream.mqtt.bridge import Bridge
from support.schemas import schema


def test_the_bridge_tells_of_itself_and_knows_its_orphans() -> None:
    bridge = Bridge("bed 4/left", 2, "bp")
    bridge.states |= {"demo": "online", "gone": "offline"}
    counts = dict.fromkeys(
        ("published", "refused", "queued", "spooled", "dropped", "dropped_waveforms"), 0
    )
    info = bridge.info(counts, 0.25)
    assert info.topics == ("bp/bridge/bed-4-left-2/info",)
    schema("bridge").validate(json.loads(info.payload))
    assert json.loads(info.payload)["devices"] == ["demo"]
    assert bridge.orphans(info.payload) == []
    successor = Bridge("bed 4/left", 2, "bp")
    assert successor.orphans(info.payload) == ["demo"]
    assert successor.orphans(b'{"devices":["../x","#",3],"run":"1"}') == []
    assert successor.orphans(b"\xff[") == []
    schema("bridge-state").validate(bridge.state("offline").payload.decode())
