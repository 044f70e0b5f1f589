"""The sink against a real mosquitto: what arrives, and what happens when the broker does not."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from innpar.devices import Event
from innpar.stream.errors import BrokerError
from innpar.stream.messages.commands import NAMES, Calibrate, Mark
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.payload import parcel
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.broker import BrokerSettings, embedded_broker
from innpar.stream.mqtt.connection import connect
from innpar.stream.mqtt.sink import ROOM, MqttSink
from innpar.stream.results import Beat, State
from support.brokers import Broker, Mosquitto, free_port
from support.items import START, beat, birth, summary, wave
from support.listening import Heard, Listener
from support.paths import ROOT
from support.relay import relay

Listen = Callable[..., Listener]


async def heard(
    listener: Listener, enough: Callable[[list[Heard]], bool], *, within: float = 15
) -> list[Heard]:
    return await asyncio.to_thread(lambda: listener.wait(enough, within=within))


def seqs(messages: list[Heard], topic: str = "bp/estimates") -> list[int]:
    return [message.json["seq"] for message in messages if message.topic == topic]


def payloads(messages: list[Heard], topic: str) -> list[str]:
    return [message.payload for message in messages if message.topic == topic]


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], within: float = 15) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # the sink tells nobody when its link goes
            await asyncio.sleep(0.02)


async def test_everything_arrives_as_the_contract_says(mosquitto: Broker, listen: Listen) -> None:
    broker = mosquitto()
    listener = listen(broker.port, "bp/#")
    async with MqttSink.open(Address.parse(broker.url), node="bed4") as sink:
        for item in (birth(), State("demo", "online"), Event("demo", "notice", START, START)):
            await sink.send(item)
        for seq in range(30):
            await sink.ready()
            await sink.send(beat(seq))
            await sink.send(wave(seq))
            await sink.send(wave(seq, "ppg"))
        await sink.send(summary())
        await sink.flush()
        assert sink.counts["dropped"] == sink.counts["refused"] == sink.counts["queued"] == 0
    messages = await heard(listener, lambda got: "offline" in payloads(got, "bp/bridge/bed4/state"))
    expected = [parcel(beat(seq)).payload.decode() for seq in range(30)]
    assert payloads(messages, "bp/estimates") == expected
    assert payloads(messages, "bp/devices/demo/beats") == expected
    assert payloads(messages, "bp/devices/demo/abp") == [
        parcel(wave(seq)).payload.decode() for seq in range(30)
    ]
    assert payloads(messages, "bp/devices/demo/state") == ["online", "offline"]
    assert payloads(messages, "bp/bridge/bed4/state") == ["online", "offline"]
    assert len(payloads(messages, "bp/devices/demo/meta")) == 1
    assert len(payloads(messages, "bp/devices/demo/events")) == 1
    assert len(payloads(messages, "bp/devices/demo/summary")) == 1
    one = next(message for message in messages if message.topic == "bp/estimates")
    assert (one.qos, one.content_type, one.expiry) == (1, "application/json", "")
    waited = int(one.headers.pop("queued_ms"))
    assert 0 <= waited < 10_000
    assert one.headers == {"schema": "bp-beat/1", "unit": "mm[Hg]", "rate": "125", "seq": "0"}
    stretch = next(message for message in messages if message.topic == "bp/devices/demo/abp")
    assert (stretch.qos, stretch.expiry) == (0, "5")
    late = await asyncio.to_thread(listen, broker.port, "bp/#")
    kept = {m.topic: m.payload for m in late.heard() if m.retained}
    assert kept["bp/devices/demo/state"] == kept["bp/bridge/bed4/state"] == "offline"
    assert json.loads(kept["bp/bridge/bed4/info"])["devices"] == []
    assert set(kept) == {
        "bp/devices/demo/state",
        "bp/devices/demo/meta",
        "bp/bridge/bed4/state",
        "bp/bridge/bed4/info",
    }
    assert others() == set()


async def refusal(url: str, **options: object) -> str:
    with pytest.raises(BrokerError) as caught:
        async with MqttSink.open(Address.parse(url), **options):  # type: ignore[arg-type]
            pytest.fail("it opened")
    message = str(caught.value)
    assert "\n" not in message
    assert "hunter2" not in message
    assert others() == set()
    return message


@pytest.fixture
def guarded(mosquitto: Broker, tmp_path: Path) -> Mosquitto:
    """A broker with a user `nurse` who may publish on `bp`, but not on `bp/estimates`."""
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    make = ["mosquitto_passwd", "-c", "-b", str(passwords), "nurse", "hunter2"]
    subprocess.run(make, check=True, capture_output=True, timeout=20)
    subprocess.run([*make[:1], *make[2:-2], "guest", "x"], check=True, timeout=20)
    rules.write_text(
        "user nurse\ntopic readwrite bp/devices/#\ntopic readwrite bp/bridge/#\n"
        "topic read bp/cmd/#\nuser guest\ntopic read bp/#\n"
    )
    os.chmod(passwords, 0o600)
    return mosquitto("allow_anonymous false", f"password_file {passwords}", f"acl_file {rules}")


async def test_a_wrong_or_missing_password_is_one_clear_line(guarded: Mosquitto) -> None:
    at = f"127.0.0.1:{guarded.port}"
    wrong = await refusal(f"mqtt://nurse:hunter22@{at}")
    assert "refuses user 'nurse'" in wrong
    missing = await refusal(f"mqtt://{at}")
    assert "requires a user name and password" in missing


async def test_who_may_not_publish_hears_so_at_the_start(guarded: Mosquitto) -> None:
    message = await refusal(f"mqtt://guest:x@127.0.0.1:{guarded.port}")
    assert "refuses messages on bp/bridge/" in message


async def test_a_refused_topic_is_told_once_and_counted(
    guarded: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"mqtt://nurse:hunter2@127.0.0.1:{guarded.port}"
    async with MqttSink.open(Address.parse(url)) as sink:
        for seq in range(5):
            await sink.send(beat(seq))
        await sink.flush()
        counts = sink.counts
    assert (counts["refused"], counts["published"], counts["queued"]) == (5, 5, 0)
    complaints = [r for r in caplog.records if "bp/estimates" in r.getMessage()]
    assert [record.levelno for record in complaints] == [logging.ERROR]
    assert "Not authorized" in complaints[0].getMessage()
    assert "hunter2" not in caplog.text


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """An authority of our own, and a broker's certificate for 127.0.0.1 from it."""
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem"]
    for arguments in (
        ["req", "-x509", *key, "ca.key", "-out", "ca.pem", "-subj", "/CN=Test", "-days", "2"],
        ["req", *key, "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", "server.csr", *signed, "-days", "2", "-extfile", "ext"],
    ):
        subprocess.run(
            ["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60
        )
    return folder


async def test_tls_is_checked_and_used(
    mosquitto: Broker, certificates: Path, listen: Listen
) -> None:
    inside = free_port()
    broker = mosquitto(
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
        "allow_anonymous true",
        f"listener {inside} 127.0.0.1",
    )
    at = f"127.0.0.1:{broker.port}"
    assert "cannot be trusted" in await refusal(f"mqtts://{at}")
    assert "TLS" in await refusal(f"mqtts://127.0.0.1:{inside}")
    assert "TLS" in await refusal(f"mqtt://{at}")
    assert "check the files" in await refusal(f"mqtts://{at}?ca={certificates}/none.pem")
    listener = listen(inside, "bp/estimates")
    url = f"mqtts://{at}?ca={certificates}/ca.pem"
    async with MqttSink.open(Address.parse(url)) as sink:
        await sink.send(beat(0))
        await sink.flush()
    await heard(listener, lambda got: seqs(got) == [0])


async def test_nobody_there_is_one_clear_line() -> None:
    assert "nothing listens" in await refusal(f"mqtt://127.0.0.1:{free_port()}")
    assert "cannot be reached" in await refusal("mqtt://no-such-host.invalid")


async def test_something_else_than_a_broker_is_one_clear_line() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    for answer in (hang_up, babble):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert "is it an MQTT broker" in await refusal(f"mqtt://127.0.0.1:{port}")


async def test_a_bad_root_is_one_clear_line() -> None:
    for root in ("", "a/#", "/bp", "$SYS"):
        assert "is not a valid root" in await refusal("mqtt://127.0.0.1:1", topic=root)


@pytest.mark.slow
async def test_an_older_broker_is_spoken_to_in_its_own_version(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with embedded_broker(BrokerSettings()) as own:
        address = Address(own.host, own.port)  # as if it were anybody's
        async with MqttSink.open(address) as sink:
            await sink.send(beat(0))
            await sink.flush()
            assert sink.counts["published"] == 2
    assert "using 3.1.1" in caplog.text


async def test_beats_survive_the_brokers_absence_and_waveforms_do_not(
    mosquitto: Broker, listen: Listen
) -> None:
    broker = mosquitto()
    before = listen(broker.port, "bp/#")
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.send(State("demo", "online"))
        for seq in range(10):
            await sink.send(beat(seq))
        await sink.flush()
        await heard(before, lambda got: len(seqs(got)) == 10)
        broker.kill()
        await until(lambda: not sink.connected)
        for seq in range(10, 300):
            await sink.send(beat(seq))
            await sink.send(wave(seq))
        assert sink.counts["spooled"] == 290
        assert sink.counts["dropped_waveforms"] >= 290
        broker.start()
        after = await asyncio.to_thread(listen, broker.port, "bp/#")
        await sink.flush()
        messages = await heard(after, lambda got: len(seqs(got)) == 290)
        expected = [parcel(beat(seq)).payload.decode() for seq in range(10, 300)]
        assert payloads(messages, "bp/estimates") == expected
        assert payloads(messages, "bp/devices/demo/beats") == expected
        # The broker came back without what it had retained.
        assert "online" in payloads(messages, "bp/devices/demo/state")
        assert (sink.counts["spooled"], sink.counts["dropped"]) == (0, 0)


PUBLISHER = """
import asyncio, sys
from innpar.stream.mqtt.address import Address
from innpar.stream.results import Beat, State
from innpar.stream.mqtt.sink import MqttSink
from support.items import beat

async def main():
    async with MqttSink.open(Address.parse(sys.argv[1]), node="bed4") as sink:
        await sink.send(State("demo", "online"))
        await sink.send(State("other", "online"))
        for seq in range(int(sys.argv[2])):
            await sink.send(beat(seq))
        await sink.flush()
        print("delivered", flush=True)
        sys.stdin.readline()
        for seq in range(int(sys.argv[2]), int(sys.argv[3])):
            await sink.send(beat(seq))
            await asyncio.sleep(0)
        print("sent", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def publisher(broker: Mosquitto, first: int, last: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, broker.url, str(first), str(last)],
        cwd=ROOT / "tests",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "delivered\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "sent\n"


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


async def test_after_kill_9_the_next_start_corrects_what_was_left_online(
    mosquitto: Broker, listen: Listen
) -> None:
    broker = mosquitto()
    process = await asyncio.to_thread(publisher, broker, 3, 3)
    listener = await asyncio.to_thread(listen, broker.port, "bp/#")
    kill(process)
    # One will a connection: the bridge's. The devices' state is still online.
    messages = await heard(
        listener, lambda got: payloads(got, "bp/bridge/bed4/state")[-1:] == ["offline"]
    )
    assert payloads(messages, "bp/devices/other/state") == ["online"]
    async with MqttSink.open(Address.parse(broker.url), node="bed4") as sink:
        await sink.send(State("demo", "online"))
        messages = await heard(
            listener, lambda got: payloads(got, "bp/devices/other/state")[-1:] == ["offline"]
        )
        assert payloads(messages, "bp/bridge/bed4/state")[-1] == "online"
        assert payloads(messages, "bp/devices/demo/state")[-1] == "online"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_after_kill_9_the_next_start_delivers_what_was_left(
    mosquitto: Broker, listen: Listen, how: signal.Signals
) -> None:
    broker = mosquitto()
    listener = listen(broker.port, "bp/estimates")
    process = await asyncio.to_thread(publisher, broker, 20, 120)
    await heard(listener, lambda got: len(seqs(got)) == 20)
    if how is signal.SIGKILL:
        broker.kill()
        await asyncio.sleep(0.3)
    else:
        broker.signal(how)  # alive for all that TCP can see
    await asyncio.to_thread(go_on, process)
    await asyncio.sleep(0 if how is signal.SIGKILL else 1.6)
    kill(process)
    if how is signal.SIGKILL:
        broker.start()
        listener = await asyncio.to_thread(listen, broker.port, "bp/estimates")
    else:
        broker.signal(signal.SIGCONT)
    async with MqttSink.open(Address.parse(broker.url), node="bed4") as sink:
        await sink.flush()
        messages = await heard(listener, lambda got: seqs(got)[-1:] == [119])
    arrived = seqs(messages)
    first = [seq for index, seq in enumerate(arrived) if seq not in arrived[:index]]
    assert first == list(range(20 if how is signal.SIGKILL else 0, 120))
    texts = {parcel(beat(seq)).payload.decode() for seq in first}
    assert set(payloads(messages, "bp/estimates")) == texts
    if how is signal.SIGKILL:
        assert arrived == first  # nothing twice


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_leaving_is_quick_without_a_broker_and_keeps_the_rest(
    mosquitto: Broker, listen: Listen, how: signal.Signals
) -> None:
    broker = mosquitto()
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.send(State("demo", "online"))
        await sink.flush()
        broker.signal(how)
        await asyncio.sleep(0.2)
        for seq in range(50):
            await sink.send(beat(seq))
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    assert others() == set()
    broker.kill()
    broker.start()
    listener = await asyncio.to_thread(listen, broker.port, "bp/#")
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.flush()
        messages = await heard(listener, lambda got: len(seqs(got)) == 50)
    assert seqs(messages) == list(range(50))
    assert payloads(messages, "bp/devices/demo/state")[-1] == "offline"


async def test_the_time_in_outbox_and_spool_is_measured(mosquitto: Broker, tmp_path: Path) -> None:
    broker, waits = mosquitto(), list[float]()
    async with MqttSink.open(Address.parse(broker.url), state=tmp_path) as sink:
        sink.watch_delays(waits.append)
        await sink.send(beat(0))
        await sink.flush()
        broker.kill()
        await until(lambda: not sink.connected)
        began = time.monotonic()
        await sink.send(beat(1))
        await asyncio.sleep(0.3)
        away = time.monotonic() - began
        await asyncio.to_thread(broker.start)
        await until(lambda: sink.connected)
        await sink.flush()
        assert sink.reconnects == 1
    assert len(waits) == 2
    assert min(waits) >= 0
    assert waits[1] > 0.9 * away


async def test_a_file_waits_for_the_broker_and_sending_never_does(mosquitto: Broker) -> None:
    broker = mosquitto()
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.ready()
        broker.signal(signal.SIGSTOP)
        began = time.monotonic()
        for seq in range(2000):
            await sink.send(beat(seq))
        assert time.monotonic() - began < 5
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await sink.ready()
        broker.signal(signal.SIGCONT)
        async with asyncio.timeout(15):
            await sink.ready()
        assert sink.counts["queued"] <= ROOM
        await sink.flush()
        assert sink.counts["published"] >= 4000
        assert sink.counts["dropped"] == 0


async def test_a_silent_broker_is_given_up_and_found_again(
    mosquitto: Broker, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innpar.stream.mqtt.delivery._DEAD", 1.0)
    broker = mosquitto()
    listener = listen(broker.port, "bp/estimates")
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        broker.signal(signal.SIGSTOP)
        for seq in range(100):
            await sink.send(beat(seq))
        await until(lambda: not sink.connected)
        broker.signal(signal.SIGCONT)
        await sink.flush()
    messages = await heard(listener, lambda got: seqs(got)[-1:] == [99])
    arrived = seqs(messages)
    assert [seq for index, seq in enumerate(arrived) if seq not in arrived[:index]] == list(
        range(100)
    )


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_is_in_flight_than_the_broker_takes(
    mosquitto: Broker, listen: Listen, most: int
) -> None:
    """Beats take two messages each; mosquitto ends a connection that exceeds its maximum."""
    broker = mosquitto("allow_anonymous true", f"max_inflight_messages {most}")
    listener = listen(broker.port, "bp/#")
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        for seq in range(50):
            await sink.send(beat(seq))
            await sink.send(summary())
            await sink.send(wave(seq))
        await sink.flush()
        assert sink.reconnects == 0
    messages = await heard(listener, lambda got: 49 in seqs(got, "bp/devices/demo/beats"))
    for topic in ("bp/estimates", "bp/devices/demo/beats"):
        assert seqs(messages, topic) == list(range(50))


def long_or_short(seq: int) -> Beat:
    return beat(seq, abp=np.full(1000, 80.25, np.float32)) if seq in (3, 4, 17) else beat(seq)


async def test_a_loop_that_is_held_up_does_not_blame_the_broker(
    mosquitto: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop stands still between handing a message over and writing it."""
    monkeypatch.setattr("innpar.stream.mqtt.delivery._DEAD", 1.0)
    broker = mosquitto()
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        for seq in range(2):
            held = iter([1.5])
            sink.watch_handover(lambda _, held=held: time.sleep(next(held, 0)))  # type: ignore[misc]
            await sink.send(beat(seq))
            await sink.flush()
        assert sink.reconnects == 0
    assert "acknowledged nothing" not in caplog.text


async def test_a_message_too_large_for_the_broker_does_not_hold_up_the_others(
    mosquitto: Broker, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    """mosquitto announces the limit under MQTT 5 and closes the connection under 3.1.1."""
    broker = mosquitto("allow_anonymous true", "max_packet_size 4000")
    listener = listen(broker.port, "bp/estimates", "bp/devices/demo/events")
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.send(State("demo", "online"))
        for seq in range(30):
            await sink.send(long_or_short(seq))
        await sink.flush()
        counts = sink.counts
    assert (counts["set_aside"], counts["queued"], counts["dropped"]) == (3, 0, 0)
    messages = await heard(listener, lambda got: len(got) >= 28)
    assert seqs(messages) == [seq for seq in range(30) if seq not in (3, 4, 17)]
    told = [json.loads(text)["detail"] for text in payloads(messages, "bp/devices/demo/events")]
    assert [detail["code"] for detail in told] == ["message_set_aside"]
    assert "the broker accepts 4000" in told[0]["text"]
    assert caplog.text.count("it is set aside") == 1


async def test_a_broker_that_answers_by_closing_the_connection_is_recognised(
    mosquitto: Broker,
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("innpar.stream.mqtt.reconnecting.LONGEST_PAUSE", 0.3)
    broker = mosquitto()
    listener = listen(broker.port, "bp/estimates")
    async with (
        relay(broker.port, lambda packet: len(packet) > 4000) as port,
        MqttSink.open(Address("127.0.0.1", port)) as sink,
    ):
        for seq in range(30):
            await sink.send(long_or_short(seq))
        async with asyncio.timeout(40):
            await sink.flush()
        counts = sink.counts
    assert (counts["set_aside"], counts["queued"], counts["dropped"]) == (3, 0, 0)
    messages = await heard(listener, lambda got: 29 in seqs(got))
    arrived = list(dict.fromkeys(seqs(messages)))
    assert arrived == [seq for seq in range(30) if seq not in (3, 4, 17)]
    assert "closes the connection whenever it arrives" in caplog.text


async def test_two_processes_do_not_take_each_others_name(mosquitto: Broker) -> None:
    broker = mosquitto()
    address = Address.parse(broker.url)
    async with MqttSink.open(address, node="bed4") as one:
        async with MqttSink.open(address, node="bed4") as two:
            assert (one.node, two.node) == ("bed4", "bed4-2")
            await asyncio.sleep(0.3)
            assert one.connected
            assert two.connected
        async with MqttSink.open(address, node="bed4", topic="other") as three:
            assert three.node == "bed4"


@pytest.mark.slow
async def test_broker_kills_cost_no_beat_and_no_traceback(
    mosquitto: Broker, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form of `scripts/soak brokers`."""
    monkeypatch.setattr("innpar.stream.mqtt.reconnecting.LONGEST_PAUSE", 0.2)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    broker = mosquitto("allow_anonymous true", "max_inflight_messages 7")
    sent, arrived = 0, list[int]()
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        for _ in range(8):
            listener = await asyncio.to_thread(listen, broker.port, "bp/estimates")
            for _ in range(60):
                await sink.send(beat(sent))
                await sink.send(wave(sent))
                sent += 1
                await asyncio.sleep(0.005)
            await asyncio.sleep(random.uniform(0, 0.1))
            broker.kill()
            for _ in range(10):
                await sink.send(beat(sent))
                sent += 1
            arrived += seqs(listener.heard())
            broker.start()
        listener = await asyncio.to_thread(listen, broker.port, "bp/estimates")
        async with asyncio.timeout(30):
            await sink.flush()
        counts = sink.counts
    del sink
    gc.collect()
    assert complaints == []
    assert (counts["dropped"], counts["refused"], counts["set_aside"]) == (0, 0, 0)
    assert counts["published"] >= 2 * sent
    assert arrived == sorted(arrived)


async def test_two_computers_of_one_host_name_have_two_node_names(
    mosquitto: Broker, tmp_path: Path
) -> None:
    address = Address.parse(mosquitto().url)
    names = []
    for state in ("ward", "ward", "cupboard"):
        async with MqttSink.open(address, state=tmp_path / state) as sink:
            names.append(sink.node)
    assert names[0] == names[1] != names[2]
    assert all(name.startswith(f"{platform.node()}-") for name in names)


@pytest.mark.parametrize("state", ["offline", "online"])
async def test_what_version_0_1_retained_is_cleared_unless_it_still_runs(
    state: str, mosquitto: Broker, listen: Listen
) -> None:
    broker, host = mosquitto(), platform.node()
    info = {"schema": "bp-bridge/1", "node": host, "run": "1", "version": "0.1.0", "host": host}
    node = re.sub(r"[^\w.-]", "-", host)
    other = {**info, "node": "elsewhere", "host": "elsewhere", "devices": ["theirs"]}
    messages = {
        f"bp/bridge/{node}/info": json.dumps({**info, "node": node, "devices": ["old"]}),
        f"bp/bridge/{node}/state": state,
        "bp/devices/old/state": "online",
        "bp/bridge/elsewhere/info": json.dumps(other),
        "bp/bridge/elsewhere/state": "offline",
    }
    async with connect(Address.parse(broker.url)) as link:
        for topic, text in messages.items():
            link.send(Parcel((topic,), text.encode(), retain=True), topic)
        await asyncio.sleep(0.2)
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await asyncio.sleep(0.5)
        await sink.flush()
    heard = listen(broker.port, "bp/#")
    await asyncio.sleep(0.3)
    left = {message.topic: message.payload for message in heard.heard()}
    assert left["bp/devices/old/state"] == state
    gone = {topic for topic in messages if topic not in left}
    wanted = {f"bp/bridge/{node}/info", f"bp/bridge/{node}/state"} if state == "offline" else set()
    assert gone == wanted


@pytest.mark.slow
async def test_a_twin_with_our_name_is_named_with_the_cure_and_given_way(
    mosquitto: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address.parse(mosquitto().url)
    async with (
        MqttSink.open(address, node="bed4", state=tmp_path / "one") as one,
        MqttSink.open(address, node="bed4", state=tmp_path / "two") as two,
    ):
        for seq in range(40):
            await one.send(beat(seq))
            await two.send(beat(seq))
            await asyncio.sleep(0.1)
        reports = [r.getMessage() for r in caplog.records if "node name bed4" in r.getMessage()]
        assert 1 <= len(reports) <= 4  # two of each process, should the last come late
        assert "--node" in reports[0]
        assert sum("reconnecting" in record.getMessage() for record in caplog.records) <= 4
        assert not [record for record in caplog.records if record.name == "asyncio"]
        assert one.counts["dropped"] == two.counts["dropped"] == 0


async def test_two_processes_with_one_device_warn_of_each_other(
    mosquitto: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address.parse(mosquitto().url)
    async with (
        MqttSink.open(address, node="bed4", state=tmp_path / "one") as one,
        MqttSink.open(address, node="bed5", state=tmp_path / "two") as two,
    ):
        await one.send(State("demo", "online"))
        await one.send(State("own", "online"))
        await two.send(State("demo", "online"))
        await until(lambda: "bed5 publishes a device of this name too" in caplog.text)
        await one.send(State("third", "online"))  # its description arrives at the other
        await until(lambda: "bed4 publishes a device of this name too" in caplog.text)
        await two.send(State("fourth", "online"))
        await two.flush()
        await asyncio.sleep(0.2)
    lines = [r.getMessage() for r in caplog.records if "of this name too" in r.getMessage()]
    assert len(lines) == 2
    assert all(line.startswith("demo: ") for line in lines)


async def test_a_run_may_start_before_its_broker(
    mosquitto: Broker, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto()
    broker.kill()
    async with MqttSink.open(Address.parse(broker.url), wait=True) as sink:
        assert not sink.connected
        assert "nothing listens" in caplog.text
        for seq in range(20):
            await sink.send(beat(seq))
        assert sink.counts["spooled"] == 20
        broker.start()
        listener = await asyncio.to_thread(listen, broker.port, "bp/estimates")
        async with asyncio.timeout(30):
            await sink.flush()
    assert seqs(await heard(listener, lambda got: len(got) >= 20)) == list(range(20))


async def test_what_only_a_person_can_mend_is_not_waited_for(guarded: Mosquitto) -> None:
    at = f"127.0.0.1:{guarded.port}"
    assert "refuses user" in await refusal(f"mqtt://nurse:x@{at}", wait=True)
    assert "refuses messages" in await refusal(f"mqtt://guest:x@{at}", wait=True)
    assert "nothing listens" in await refusal(f"mqtt://127.0.0.1:{free_port()}")


async def test_dropped_messages_are_announced_and_counted(
    mosquitto: Broker, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    broker = mosquitto()
    address = Address.parse(broker.url)
    async with MqttSink.open(address, spool_limit=64 * 1024) as sink:
        await sink.send(State("demo", "online"))
        await sink.flush()
        broker.kill()
        await until(lambda: not sink.connected)
        for seq in range(200):
            await sink.send(beat(seq))
        dropped = sink.counts["dropped"]
        assert dropped > 0
        assert "the oldest are dropped from now on" in caplog.text
        broker.start()
        listener = await asyncio.to_thread(listen, broker.port, "bp/#")
        async with asyncio.timeout(30):
            await sink.flush()
        total = sink.counts["dropped"]
        messages = await heard(listener, lambda got: 199 in seqs(got))
    assert seqs(messages)[-1] == 199
    told = [json.loads(text)["detail"] for text in payloads(messages, "bp/devices/demo/events")]
    assert {detail["code"] for detail in told} == {"messages_dropped"}
    assert f"{total} undelivered messages were dropped, the oldest first" in caplog.text


def ask(
    broker: Mosquitto, topic: str, message: str, *more: str
) -> subprocess.CompletedProcess[bytes]:
    where = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-V", "5", "-q", "1"]
    return subprocess.run(
        [*where, "-t", topic, "-m", message, *more], check=True, timeout=10, capture_output=True
    )


async def test_commands_come_in_and_are_answered(mosquitto: Broker, listen: Listen) -> None:
    broker = mosquitto()
    listener = listen(broker.port, "bp/answers", "bp/devices/demo/events", "bp/estimates")
    reply = ["-D", "publish", "response-topic", "bp/answers"]
    await asyncio.to_thread(
        ask, broker, "bp/cmd/demo/calibrate", '{"sbp":200,"dbp":100}', "--retain"
    )
    async with MqttSink.open(Address.parse(broker.url)) as sink:
        await sink.send(State("demo", "online"))
        await sink.flush()
        await asyncio.sleep(0.5)
        commands = sink.commands()
        topic = "bp/cmd/demo/calibrate"
        text = '{"sbp":128,"dbp":79,"time":"2026-11-23T14:19:40.312Z"}'
        await asyncio.to_thread(ask, broker, topic, text, *reply)
        command = await asyncio.wait_for(anext(commands), 5)
        assert isinstance(command, Calibrate)
        assert (command.device, command.sbp, command.dbp) == ("demo", 128, 79)
        assert command.time == START
        sink.answer(command)
        await asyncio.to_thread(ask, broker, "bp/cmd/demo/mark", '{"text":"stood up"}')
        mark = await asyncio.wait_for(anext(commands), 5)
        assert mark == Mark("demo", "stood up")
        sink.answer(mark, "nobody records")
        await asyncio.to_thread(ask, broker, topic, '{"sbp":79,"dbp":79}', *reply)
        await asyncio.to_thread(ask, broker, topic, "120/80")
        # Nobody makes us publish where our own data is.
        forged = ["-D", "publish", "response-topic", "bp/estimates"]
        await asyncio.to_thread(ask, broker, topic, "x", *forged)
        messages = await heard(listener, lambda got: len(got) == 5)
    answers = [json.loads(text) for text in payloads(messages, "bp/answers")]
    assert [answer["ok"] for answer in answers] == [True, False]
    assert "at least 10 mmHg above" in answers[1]["error"]
    told = [json.loads(text) for text in payloads(messages, "bp/devices/demo/events")]
    assert [event["kind"] for event in told] == ["notice"] * 3
    codes = [event["detail"]["code"] for event in told]
    assert codes == ["mark_refused", "calibrate_refused", "calibrate_refused"]
    assert "nobody records" in told[0]["detail"]["text"]
    assert '{"sbp":128,"dbp":79}' in told[1]["detail"]["text"]
    assert payloads(messages, "bp/estimates") == []


async def test_a_device_is_published_once_its_commands_are_subscribed_to(mosquitto: Broker) -> None:
    packets: list[bytes] = []
    broker = mosquitto()
    async with (
        relay(broker.port, lambda packet: bool(packets.append(packet))) as port,
        MqttSink.open(Address("127.0.0.1", port)) as sink,
    ):
        for device in ("first", "second"):
            await sink.send(State(device, "online"))
            await sink.flush()
    for device in (b"first", b"second"):
        published = next(n for n, one in enumerate(packets) if b"devices/" + device in one)
        for name in NAMES:
            topic = b"cmd/" + device + b"/" + name.encode()
            assert any(topic in one for one in packets[:published])


async def test_cancelling_anywhere_in_the_start_leaves_nothing(mosquitto: Broker) -> None:
    broker = mosquitto()
    open_before = len(os.listdir("/proc/self/fd"))
    for wait in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):

        async def start() -> None:
            async with MqttSink.open(Address.parse(broker.url)) as sink:
                await sink.flush()
                await asyncio.sleep(10)

        task = asyncio.create_task(start())
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.1)
        assert others() == set()
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1


async def test_leaving_while_a_subscription_is_answered(mosquitto: Broker) -> None:
    """Before Python 3.12 a cancellation that comes together with an answer can be lost."""
    broker = mosquitto()
    async with asyncio.timeout(20):
        for _ in range(4):
            async with MqttSink.open(Address.parse(broker.url)) as sink:
                for name in ("a", "b", "c"):
                    await sink.send(State(name, "online"))
                await sink.flush()
                time.sleep(0.3)  # noqa: ASYNC251  # the loop finds both at once
    assert others() == set()


async def test_a_silent_port_can_be_cancelled_at_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        address = Address("127.0.0.1", silent.getsockname()[1])

        async def start() -> None:
            async with MqttSink.open(address):
                pytest.fail("it opened")

        task = asyncio.create_task(start())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("localhost", "not an MQTT URL"),
        ("http://localhost", "not an MQTT URL"),
        ("mqtt://", "must have a host"),
        ("mqtt://:1883", "must have a host"),
        ("mqtt://host:99999", "port is a number"),
        ("mqtt://host:port", "port is a number"),
        ("mqtt://nurse:hunter2@host:port", "port is a number"),
        ("mqtt://nurse:hunter2@host/path", "must have a host and a port only"),
        ("mqtt://nurse:hun/ter2@host", "no"),
        ("mqtts://host?co=x", "unknown ?co="),
        ("mqtt://host?ca=x", "use mqtts://"),
        ("mqtt://[::1", "is not a URL"),
    ],
)
def test_a_bad_url_is_one_clear_line_without_its_password(url: str, what: str) -> None:
    with pytest.raises(BrokerError, match="broker") as caught:
        Address.parse(url)
    assert what in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_a_url_says_all_there_is_to_know() -> None:
    assert Address.parse("mqtt://h") == Address("h", 1883)
    full = Address.parse("mqtts://me:p%40ss@[::1]?ca=/a&cert=/b&key=/c")
    assert full == Address("::1", 8883, True, "me", "p@ss", ca="/a", cert="/b", key="/c")
    assert str(full) == "mqtts://[::1]:8883"
    assert "p@ss" not in repr(full)
