"""Options of the messages: raw waveforms, Home Assistant, FHIR, and pseudonyms for addresses."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fhir.resources.R4B.observation import Observation
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from innpar.devices import Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace
from innpar.stream.cli.commands.watch import line_of
from innpar.stream.errors import BrokerError
from innpar.stream.messages.commands import Calibrate, Mark, parse_command
from innpar.stream.messages.home_assistant import discovery
from innpar.stream.messages.payload import parcel
from innpar.stream.messages.raw import raw_parcel, readable
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.mqtt.broker import BrokerSettings, embedded_broker
from innpar.stream.mqtt.connection import Received
from innpar.stream.mqtt.packets import properties
from innpar.stream.mqtt.publisher import MessageOptions, Publisher
from innpar.stream.mqtt.sink import MqttSink
from innpar.stream.results import State
from support.brokers import Broker, Mosquitto
from support.harness import stream_all
from support.items import START, beat, birth, summary, wave
from support.listening import Heard, Listener
from support.paths import ROOT
from support.schemas import schema

Listen = Callable[..., Listener]
ADDRESS, SERIAL = "A0:9E:1A:12:34:56", "C0FFEE42"


def press(**told: Any) -> Publisher:
    return Publisher(Bridge("bed4", 1, "bp"), MessageOptions(**told))


async def heard(listener: Listener, enough: Callable[[list[Heard]], bool]) -> list[Heard]:
    return await asyncio.to_thread(lambda: listener.wait(enough))


@pytest.mark.parametrize(
    ("beats_on", "topics"),
    [
        ("both", ("bp/estimates", "bp/devices/demo/beats")),
        ("estimates", ("bp/estimates",)),
        ("devices", ("bp/devices/demo/beats",)),
    ],
)
def test_a_beat_is_on_the_chosen_topics(beats_on: str, topics: tuple[str, ...]) -> None:
    (sent,) = press(beats_on=beats_on).parcels(beat(3))
    assert sent.topics == topics
    assert sent.payload == parcel(beat(3)).payload


def test_waveforms_may_be_off_and_beats_keep_theirs() -> None:
    off = press(waveform="off")
    assert [off.parcels(wave(0, kind)) for kind in ("abp", "ppg")] == [[], []]
    assert json.loads(off.parcels(beat(3))[0].payload)["abp"]["samples"]


@pytest.mark.parametrize("keep", [False, True])
def test_no_address_and_no_serial_number_is_published(keep: bool) -> None:
    told = {"name": f"Polar Sense {SERIAL}", "address": ADDRESS, "serial": SERIAL, "battery": 87}
    ours = press(keep_address=keep, home_assistant="homeassistant")
    sent = ours.parcels(replace(birth(), detail=told))
    sent += ours.parcels(Event("demo", "connected", START, START, told))
    text = f"lost {ADDRESS.lower()}; looking for it"
    sent += ours.parcels(Event("demo", "notice", START, START, {"text": text}))
    sent += ours.retained()
    said = [json.loads(one.payload) for one in sent]
    everything = b"".join(one.payload for one in sent).decode()
    assert (ADDRESS in everything, ADDRESS.lower() in everything) == (keep, keep)
    assert (SERIAL in everything) == keep
    first, again = (one["detail"] for one in said if one.get("schema") == "bp-meta/1")
    assert first == again
    assert first["battery"] == 87
    if not keep:
        assert first["address"].startswith("pseudonym-")
        assert first["name"] == f"Polar Sense {first['serial']}"
        assert first["address"] in said[3]["detail"]["text"]


def test_a_raw_waveform_is_float32_and_its_properties_say_the_rest() -> None:
    for kind in ("abp", "ppg"):
        plain, sent = wave(3, kind), raw_parcel(wave(3, kind), "bp")
        schema("waveform-raw").validate(dict(sent.headers))
        assert np.array_equal(np.frombuffer(sent.payload, "<f4"), plain.samples)
        assert (sent.topics, sent.qos, sent.durable, sent.expiry) == (
            (f"bp/devices/demo/{kind}",),
            0,
            False,
            5,
        )
        assert sent.content_type == "application/octet-stream"
        read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        read.unpack(properties(sent))
        assert not hasattr(read, "PayloadFormatIndicator")  # it is no text
        message = readable(sent.payload, dict(sent.headers))
        assert message is not None
        schema("waveform").validate(message)
        expected = json.loads(parcel(plain).payload)
        assert {**message, "samples": 0} == {**expected, "samples": 0}
        assert np.abs(np.array(message["samples"]) - plain.samples).max() < 1e-4
    headers = dict(raw_parcel(wave(), "bp").headers)
    assert readable(b"123", headers) is None
    assert readable(b"1234", {}) is None
    assert readable(b"1234", {**headers, "rate": "fast"}) is None
    nan = readable(np.array([1, np.nan], "<f4").tobytes(), headers)
    assert nan is not None
    assert nan["samples"] == [1.0, None]


def watching(url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "innpar.stream.cli.main", "watch", "--broker", url]
    topic = ["--topic", "bp/devices/demo/abp"]
    return subprocess.Popen(
        [*command, *topic, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


async def test_raw_waveforms_are_shown_to_who_watches(mosquitto: Broker) -> None:
    broker = mosquitto()
    processes = [watching(broker.url), watching(broker.url, "--json")]
    async with MqttSink.open(Address.parse(broker.url), options=MessageOptions("raw")) as sink:
        reading = [
            asyncio.create_task(asyncio.to_thread(process.stdout.readline))
            for process in processes
            if process.stdout is not None
        ]
        while not all(task.done() for task in reading):
            await sink.send(wave())
            await asyncio.sleep(0.05)
    for process in processes:
        process.kill()
        process.communicate()
    shown, line = (task.result() for task in reading)
    assert "128 samples from 2026-" in shown
    assert "at 125 Hz: 70.0 to 120.0 mm[Hg]" in shown
    schema("waveform").validate(json.loads(line))


async def test_raw_waveforms_need_mqtt_5() -> None:
    async with embedded_broker(BrokerSettings()) as own:
        with pytest.raises(BrokerError, match="needs MQTT 5") as caught:
            async with MqttSink.open(own, options=MessageOptions("raw")):
                pytest.fail("it opened")
        assert "\n" not in str(caught.value)
        async with MqttSink.open(own) as sink:
            await sink.send(wave())
            await sink.flush()


def test_what_is_watched_may_be_anything() -> None:
    for payload in (b"\xff\x00\x1b[2J", b""):
        text = line_of(Received("bp/devices/demo/abp", payload, False, None)).plain
        assert "\x1b" not in text


def test_home_assistant_is_told_as_it_documents() -> None:
    odd = replace(birth(), device="emotibit-md.v5", source="live", detail={"model": "EmotiBit"})
    for told in (birth(), odd):
        sent = discovery(told, "bed4", "ward/bp")
        config = json.loads(sent.payload)
        schema("home-assistant").validate(config)
        assert (sent.retain, sent.qos) == (True, 1)
        (topic,) = sent.topics
        assert topic.split("/")[::3] == ["homeassistant", "config"]
        assert config["state_topic"] == f"ward/bp/devices/{told.device}/summary"
        topics = [one["topic"] for one in config["availability"]]
        assert topics == [f"ward/bp/{t}/state" for t in ("bridge/bed4", f"devices/{told.device}")]
        names = [one["unique_id"] for one in config["components"].values()]
        assert len(set(names)) == len(names)
    assert topic.split("/")[2] == "ward_bp-emotibit-md_v5"
    assert config["device"]["name"] == "emotibit-md.v5"
    assert json.loads(discovery(birth(), "n", "bp").payload)["device"]["name"].endswith(
        "(simulated)"
    )
    wrong = json.loads(sent.payload)
    wrong["components"]["sbp"]["device_class"] = "pressure"
    assert not schema("home-assistant").is_valid(wrong)


def rendered(template: str, said: Any, states: dict[str, str] | None = None) -> str:
    """Return a template of Home Assistant with a summary, as Jinja renders it."""
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    text: str = environment.from_string(template).render(value_json=said, states=states or {})
    return text


def test_every_value_that_home_assistant_reads_is_in_the_summary() -> None:
    config = json.loads(discovery(birth(), "bed4", "bp").payload)
    said = json.loads(parcel(summary()).payload)
    values = {
        key: rendered(one["value_template"], said)
        for key, one in config["components"].items()
        if "value_template" in one
    }
    assert values["sbp"] == str(said["sbp"])
    assert (values["worn"], values["usable"]) == ("ON", "ON")
    limits = rendered(config["components"]["dbp"]["json_attributes_template"], said)
    low, high = said["interval"]["dbp"]
    assert json.loads(limits) == {"low": low, "high": high, "level": said["interval"]["level"]}
    nothing = {**said, "interval": None, "valid": 0, "beats": 0, "reasons": {"not_worn": 3}}
    assert rendered(config["components"]["sbp"]["json_attributes_template"], nothing) == "{}"
    assert rendered(config["components"]["usable"]["value_template"], nothing) == "OFF"
    assert rendered(config["components"]["worn"]["value_template"], nothing) == "OFF"
    unknown = {**nothing, "reasons": {}}
    assert rendered(config["components"]["worn"]["value_template"], unknown) == "None"


def test_home_assistant_sends_commands_that_are_understood() -> None:
    components = json.loads(discovery(birth(), "bed4", "bp").payload)["components"]
    entered = {
        components["cuff_sbp"]["default_entity_id"]: "128.0",
        components["cuff_dbp"]["default_entity_id"]: "79",
    }
    template = components["cuff"]["command_template"].replace("states(", "states.get(")
    sent = rendered(template, None, entered).encode()
    assert components["cuff"]["command_topic"] == "bp/cmd/demo/calibrate"
    assert parse_command("calibrate", "demo", sent, None) == Calibrate("demo", 128, 79)
    card = (ROOT / "examples/home-assistant/card.yaml").read_text(encoding="utf-8")
    ids = {one["default_entity_id"] for one in components.values()}
    assert set(re.findall(r"\b[a-z_]+\.bp_demo_[a-z_]+", card)) <= ids
    mark = components["mark"]
    assert mark["command_topic"] == "bp/cmd/demo/mark"
    assert parse_command("mark", "demo", mark["payload_press"].encode(), None) == Mark(
        "demo", "mark"
    )


async def test_home_assistant_hears_again_when_it_has_started(
    mosquitto: Broker, listen: Listen
) -> None:
    broker = mosquitto()
    topic = "homeassistant/device/bp-demo/config"
    listener = listen(broker.port, topic)
    options = MessageOptions(home_assistant="homeassistant")
    async with MqttSink.open(Address.parse(broker.url), node="bed4", options=options) as sink:
        await sink.send(State("demo", "online"))
        await sink.send(birth())
        await sink.flush()
        await heard(listener, lambda got: len(got) == 1)
        publish(broker, "homeassistant/status", "offline")
        publish(broker, "homeassistant/status", "online")
        messages = await heard(listener, lambda got: len(got) == 2)
        assert messages[0].payload == messages[1].payload
        schema("home-assistant").validate(messages[0].json)
        await sink.send(summary())
    late = await asyncio.to_thread(listen, broker.port, topic, "bp/#")
    kept = {message.topic for message in late.heard() if message.retained}
    assert topic in kept
    assert "bp/devices/demo/summary" not in kept


def publish(broker: Mosquitto, topic: str, text: str) -> None:
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-q", "1"]
    subprocess.run(["mosquitto_pub", *where, "-t", topic, "-m", text], check=True, timeout=10)


@pytest.mark.slow
def test_whatever_a_run_publishes_follows_its_schema() -> None:
    items, _, _ = stream_all([Simulated(duration=40, pace=Pace(math.inf))])
    kinds = set()
    for waveform in ("json", "raw"):
        ours = press(waveform=waveform)
        for sent in (message for item in items for message in ours.parcels(item)):
            name = dict(sent.headers)["schema"].removeprefix("bp-").removesuffix("/1")
            kinds.add(name)
            text = sent.content_type == "text/plain"
            said: Any = sent.payload.decode() if text else dict(sent.headers)
            if sent.content_type == "application/json":
                said = json.loads(sent.payload)
            schema(name).validate(said)
    assert kinds == {"beat", "waveform", "waveform-raw", "summary", "event", "state", "meta"}


def test_without_being_asked_nothing_else_is_published() -> None:
    ours = press()
    sent = [one for item in (birth(), summary(), beat(), wave()) for one in ours.parcels(item)]
    assert all(topic.startswith("bp/") for one in sent for topic in one.topics)
    assert not any(topic.endswith("/fhir") for one in sent for topic in one.topics)


def test_a_summary_is_two_observations() -> None:
    _, panel, rate = press(fhir=True).parcels(summary())
    for sent in (panel, rate):
        assert sent.topics == ("bp/devices/demo/fhir",)
        assert (sent.content_type, sent.retain) == ("application/fhir+json", False)
    told = Observation.model_validate_json(panel.payload)
    assert told.status == "preliminary"
    codes = [[c.code for c in one.code.coding] for one in told.component]
    assert codes == [["8480-6", "75997-7"], ["8462-4", "75995-1"], ["8478-0"]]
    assert {one.valueQuantity.code for one in told.component} == {"mm[Hg]"}
    assert "source: simulated" in told.method.text
    heart = Observation.model_validate_json(rate.payload)
    assert (heart.code.coding[0].code, heart.valueQuantity.code) == ("8867-4", "/min")
    assert heart.identifier[0].value != told.identifier[0].value
    nothing = summary(medians=dict.fromkeys(("sbp", "dbp", "map", "pp", "hr")), valid=0)
    assert len(press(fhir=True).parcels(nothing)) == 1
