"""``innpar-stream watch``: what is being published right now, without another client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext, suppress
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from innpar.stream.errors import BrokerError
from innpar.stream.messages.payload import to_json
from innpar.stream.messages.raw import readable
from innpar.stream.mqtt.address import Address
from innpar.stream.mqtt.connection import Received, connect
from innpar.stream.sinks.beat_line import beat_line, printable
from innpar.stream.sinks.jsonlines import silence

DEFAULT_TOPIC = "bp/estimates"


def watch(url: str | None, topic: str | None, *, as_json: bool = False) -> int:
    """Show what arrives until Ctrl-C or until nobody reads our output; return the exit status.

    Args:
        url: The broker; localhost:1883 where None.
        topic: May have wildcards; `DEFAULT_TOPIC` where None.
        as_json: Payloads as they come, a line each; raw samples as the JSON of their waveform.

    Raises:
        BrokerError: The broker is not there, does not let us in or goes away.
    """
    address = Address.parse(url) if url is not None else Address("localhost")
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(address, topic or DEFAULT_TOPIC, as_json))
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
                "check the topic and what this user may read"
            )
        if not as_json:
            print(f"{topic} on {address}; Ctrl-C ends", file=sys.stderr)
        try:
            async with aclosing(link.received()) as messages:
                with screen.live if screen is not None else nullcontext():
                    await _show(messages, screen, as_json)
        finally:
            if link.missed:
                print(f"{link.missed} messages came too fast to be shown", file=sys.stderr)


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
    """One line a wearer that changes in place; for other messages one line a topic.

    Attributes:
        live: What is on the terminal.
    """

    MOST = 40
    """Lines; the one that has been still for longest goes."""

    def __init__(self, console: Console) -> None:
        self._lines: dict[str, Text] = {}
        self.live: Live = Live(console=console, auto_refresh=True, refresh_per_second=4)

    def show(self, message: Received) -> None:
        beat = beat_of(message)
        key = message.topic if beat is None else f"{beat.get('device')}"
        if key not in self._lines and len(self._lines) >= self.MOST:
            del self._lines[next(iter(self._lines))]
        self._lines[key] = line_of(message)
        self.live.update(Group(*(self._lines[key] for key in sorted(self._lines))))


def beat_of(message: Received) -> dict[str, Any] | None:
    """Return the beat that a message carries, or None where it is something else."""
    try:
        payload = json.loads(message.payload)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) and payload.get("schema") == "bp-beat/1" else None


def line_of(message: Received) -> Text:
    """Return a beat as its line, anything else as its topic and the beginning of its payload."""
    beat = beat_of(message)
    if beat is not None:
        return beat_line(beat)
    raw = readable(message.payload, message.headers)
    text = message.payload[:200].decode("utf-8", errors="replace") if raw is None else _brief(raw)
    return Text.assemble((f"{printable(message.topic)}  ", "bold"), printable(text), no_wrap=True)


def _brief(wave: dict[str, Any]) -> str:
    """Return a stretch of waveform in a few words."""
    known = [value for value in wave["samples"] if value is not None]
    span = f": {min(known):.1f} to {max(known):.1f} {wave.get('unit')}" if known else ""
    return f"{len(wave['samples'])} samples from {wave.get('time')} at {wave['rate']} Hz{span}"
