"""A broker killed by the dozen while beats go on; each arrives once and in order: brokers [KILLS]

24 kills by default. Needs mosquitto and mosquitto-clients.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support.brokers import Mosquitto
from support.listening import Heard, Listener

SHORT = ("6",)
TOPIC = "bp/estimates"
TESTS = Path(__file__).resolve().parents[2] / "tests"

PUBLISHER = """
import asyncio, sys
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.sink import MqttSink
from support.items import beat

async def main():
    async with MqttSink.open(Address.parse(sys.argv[1])) as sink:
        seq = 0
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line == "flush\\n":
                await sink.flush()
            elif line == "lost\\n":
                while sink.connected:
                    await asyncio.sleep(0.02)
            else:
                for seq in range(seq, seq + int(line)):
                    await sink.send(beat(seq))
                seq += 1
            print("done", flush=True)

asyncio.run(main())
"""


class Publisher:
    """A process of its own that sends numbered beats on demand."""

    def __init__(self, url: str, state: Path) -> None:
        paths = [str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, "XDG_STATE_HOME": str(state)},
        )
        self._expect("ready")

    def do(self, order: str) -> None:
        """Give an order, a number of beats or "flush" or "lost", and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        self._expect("done")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != word:
            raise RuntimeError("the publisher has ended; its message is above")


def numbers(messages: list[Heard]) -> list[int]:
    """Return the beats' numbers in the order of their arrival."""
    return [message.json["seq"] for message in messages if message.topic == TOPIC]


def received(listener: Listener, count: int) -> list[int]:
    """Return the numbers of all beats, once `count` have arrived."""
    return numbers(listener.wait(lambda messages: len(numbers(messages)) >= count, within=30))


def soak(kills: int, folder: Path) -> None:
    """Send beats, kill the broker, send more, start it again, and compare what arrives.

    Raises:
        RuntimeError: A beat was lost, repeated or out of order.
    """
    broker = Mosquitto(folder, ())
    broker.start()
    publisher = Publisher(broker.url, folder / "state")
    listener = Listener(broker.port, (TOPIC,), folder / "heard-0")
    first = count = 0
    try:
        for kill in range(kills + 1):
            online, away = random.randrange(1, 30), random.randrange(1, 400)
            publisher.do(str(online))
            publisher.do("flush")
            count += online
            wanted = list(range(first, count))
            arrived = received(listener, len(wanted))
            if arrived != wanted:
                raise RuntimeError(f"after {kill} kills: {arrived}, not {wanted}")
            print(f"{kill} kills, {count} beats, each once and in order", flush=True)
            if kill < kills:
                listener.stop()
                broker.kill()
                publisher.do("lost")
                publisher.do(str(away))
                publisher.signal(signal.SIGSTOP)  # until the listener has subscribed
                broker.start()
                listener = Listener(broker.port, (TOPIC,), folder / f"heard-{kill + 1}")
                publisher.signal(signal.SIGCONT)
                first, count = count, count + away
    finally:
        listener.stop()
        publisher.close()
        broker.kill()


def main(arguments: list[str]) -> int:
    """Run; return 1 where a beat was lost, repeated or late."""
    kills = int(arguments[0]) if arguments else 24
    with tempfile.TemporaryDirectory() as folder:
        try:
            soak(kills, Path(folder))
        except (AssertionError, RuntimeError) as error:
            print(f"brokers: {error}", file=sys.stderr)
            return 1
    return 0
