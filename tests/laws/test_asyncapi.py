"""The AsyncAPI document: every topic and schema of ours, as the messages are made.

It was also checked by AsyncAPI's own parser (3.6.6, of Node.js), which the tests do not install.
"""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

from innpar.devices import Event
from innpar.stream.messages.commands import NAMES
from innpar.stream.messages.early import early_parcel
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.mqtt.publisher import MessageOptions, Publisher
from innpar.stream.results import CalibrationStatus, EarlyBeat, Latency, State
from support.items import START, beat, birth, summary, wave
from support.paths import ROOT

SCHEMAS = ROOT / "stream/messages/schemas"
DOCUMENT: dict[str, Any] = json.loads((SCHEMAS / "asyncapi.json").read_text(encoding="utf-8"))
PUBLISHED = {k.removeprefix("publish-") for k in DOCUMENT["operations"] if k.startswith("publish-")}


def resolved(reference: str) -> Any:
    """Return the target of a reference: a file beside the document, or a place in it."""
    if reference.startswith("./"):
        return json.loads((SCHEMAS / reference).read_text(encoding="utf-8"))
    node = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        node = node[key]
    return node


def references(node: Any) -> list[str]:
    """Return every reference below a node."""
    if isinstance(node, list):
        return [found for part in node for found in references(part)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if "$ref" in node else []
    return own + [found for part in node.values() for found in references(part)]


def published() -> list[Parcel]:
    """Return one message or more of every kind that a run publishes."""
    bridge = Bridge("bed4", 1, "bp")
    options = MessageOptions(fhir=True, home_assistant="homeassistant")
    items = [beat(), wave(0, "abp"), wave(0, "ppg"), summary(), birth(), State("demo", "stale")]
    items.append(Event("demo", "connected", START, START, {}))
    publisher = Publisher(bridge, options)
    sent = [one for item in items for one in publisher.parcels(item)]
    raw = Publisher(bridge, MessageOptions(waveform="raw"))
    sent += [one for kind in ("abp", "ppg") for one in raw.parcels(wave(0, kind))]
    latency = Latency(156.2, 64.0, 480.0, 120.0, 248.0, 1.4)
    early = EarlyBeat(
        *("demo", "simulated", "s", 7, START, 121.4, 74.9, None, 0.9),
        *(CalibrationStatus(), latency, "m@1"),
    )
    return [*sent, early_parcel(early, "bp"), bridge.state("online"), bridge.info({}, 0.0)]


def channels_of(topic: str) -> list[str]:
    """Return the published channels whose address fits a topic."""
    found = []
    for name in PUBLISHED:
        address = DOCUMENT["channels"][name]["address"]
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(address)), topic):
            found.append(name)
    return found


def test_the_document_is_the_one_that_the_script_writes() -> None:
    made = runpy.run_path(str(ROOT / "scripts/asyncapi"))["document"]()
    assert made == DOCUMENT, "run scripts/asyncapi"


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert resolved(reference)


def test_every_schema_is_in_it() -> None:
    named = {r.removeprefix("./") for r in references(DOCUMENT) if r.startswith("./")}
    assert named == {path.name for path in SCHEMAS.glob("*.json")} - {"asyncapi.json"}


def test_every_message_is_in_it_as_it_is_sent() -> None:
    seen = set()
    for sent in published():
        for topic in sent.topics:
            (name,) = channels_of(topic)
            use = DOCUMENT["operations"][f"publish-{name}"]["bindings"]["mqtt"]
            assert (use["qos"], use["retain"]) == (sent.qos, sent.retain), topic
            kinds = DOCUMENT["channels"][name]["messages"]
            assert sent.content_type in {
                DOCUMENT["components"]["messages"][kind]["contentType"] for kind in kinds
            }
            declared = dict(sent.headers).get("schema")
            titles = {DOCUMENT["components"]["messages"][kind].get("title") for kind in kinds}
            assert declared is None or declared in titles, topic
            seen.add(name)
    assert seen == PUBLISHED


def test_every_command_is_in_it() -> None:
    found = {k.removeprefix("receive-cmd-") for k in DOCUMENT["operations"]} & set(NAMES)
    assert found == set(NAMES)
    for name in NAMES:
        assert DOCUMENT["channels"][f"cmd-{name}"]["address"] == f"bp/cmd/{{device}}/{name}"
