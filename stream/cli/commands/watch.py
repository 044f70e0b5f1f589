"""``innpar-stream watch``: show live MQTT messages in the terminal."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext, suppress
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from innpar.stream.errors import BrokerError
from innpar.stream.messages.encoding import to_json
from innpar.stream.messages.hygiene import printable
from innpar.stream.messages.raw import readable
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import Received, connect
from innpar.stream.sinks.beat_line import beat_line
from innpar.stream.sinks.jsonlines import silence
from innpar.stream.sinks.wall import NewestBeat

EXAMPLES = """\
examples:
  innpar-stream watch
  innpar-stream watch --topic 'bp/devices/+/summary' --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port] (default: localhost:1883)",
    )
    parser.add_argument(
        "--topic",
        default="bp/estimates",
        metavar="TOPIC",
        help="topic to subscribe to, wildcards allowed (bp/estimates)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print each payload on one line; raw waveforms are converted to JSON",
    )


def run(options: argparse.Namespace) -> int:
    """Show messages until Ctrl-C or until standard output is closed.

    Raises:
        BrokerError: The broker is unreachable, refuses the connection or goes away.
    """
    address = Address("localhost") if options.broker is None else Address.parse(options.broker)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(address, options.topic, options.json))
    except BrokenPipeError:
        silence(sys.stdout)
    return 0


async def _watch(address: Address, topic: str, as_json: bool) -> None:
    console = Console(highlight=False)
    screen = None if as_json or not console.is_terminal else Screen(console)
    async with connect(address) as link:
        refusal = await link.listen(topic)
        if refusal is not None:
            raise BrokerError(
                f"{address} refuses a subscription to {topic!r} ({refusal}): "
                "check the topic and this user's read permission"
            )
        if not as_json:
            print(f"{topic} on {address}; press Ctrl-C to stop", file=sys.stderr)
        try:
            async with aclosing(link.received()) as messages:
                with screen.live if screen is not None else nullcontext():
                    await _show(messages, screen, as_json)
        finally:
            if link.missed:
                print(f"{link.missed} messages not shown: too many per second", file=sys.stderr)


async def _show(messages: AsyncIterator[Received], screen: Screen | None, as_json: bool) -> None:
    async for message in messages:
        if as_json:
            raw = readable(message.payload, message.headers)
            text = message.payload if raw is None else to_json(raw)
            sys.stdout.buffer.write(text.replace(b"\n", b" ") + b"\n")
            sys.stdout.buffer.flush()
        elif screen is not None:
            screen.show(message)
        else:
            print(line_of(message).plain, flush=True)


class Screen:
    """Live display with one line per device, and one per topic for other messages.

    Attributes:
        live: The display on the terminal.
    """

    MOST = 40
    """Lines; one more replaces the oldest."""

    def __init__(self, console: Console) -> None:
        self._lines: dict[str, NewestBeat | Text] = {}
        self.live: Live = Live(
            console=console, get_renderable=self._shown, auto_refresh=True, refresh_per_second=4
        )

    def show(self, message: Received) -> None:
        beat = beat_of(message)
        key = message.topic if beat is None else f"{beat.get('device')}"
        if key not in self._lines and len(self._lines) >= self.MOST:
            del self._lines[next(iter(self._lines))]
        now = time.monotonic()
        self._lines[key] = line_of(message) if beat is None else NewestBeat(beat, now)

    def _shown(self) -> Group:
        now, lines = time.monotonic(), dict(self._lines)  # the display has a thread of its own
        return Group(*(_line_at(lines[key], now) for key in sorted(lines)))


def _line_at(line: NewestBeat | Text, now: float) -> Text:
    """Return a line as it stands: an old beat has no numbers."""
    return line if isinstance(line, Text) else beat_line(line.at(now))


def beat_of(message: Received) -> dict[str, Any] | None:
    """Return the beat in a message, or None for other messages."""
    try:
        payload = json.loads(message.payload)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) and payload.get("schema") == "bp-beat/1" else None


def line_of(message: Received) -> Text:
    """Return a beat's display line; for other messages, the topic and start of the payload."""
    beat = beat_of(message)
    if beat is not None:
        return beat_line(beat)
    raw = readable(message.payload, message.headers)
    text = message.payload[:200].decode("utf-8", errors="replace") if raw is None else _brief(raw)
    return Text.assemble((f"{printable(message.topic)}  ", "bold"), printable(text), no_wrap=True)


def _brief(wave: dict[str, Any]) -> str:
    """Return a one-line summary of a waveform message."""
    known = [value for value in wave["samples"] if value is not None]
    span = f": {min(known):.1f} to {max(known):.1f} {wave.get('unit')}" if known else ""
    return f"{len(wave['samples'])} samples from {wave.get('time')} at {wave['rate']} Hz{span}"
