"""Random and damaged bytes into every decoder: decoders [INPUTS] [SEED] [NAME …]

A million inputs each by default. A decoder may refuse with a BadPacket; any other error is a crash,
and so are samples whose times do not ascend.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from innpar.devices.base import NS, BadPacket, Chunk, Event
from innpar.devices.link import serial_port as port
from innpar.devices.link import udp_listener as udp
from innpar.devices.sensors import bangle, cuff, muse
from innpar.devices.sensors.boards import message_decoder as messages
from innpar.devices.sensors.boards import serial_lines as lines
from innpar.devices.sensors.catalogue import SENSORS
from innpar.devices.sensors.emotibit import driver as emotibit
from innpar.devices.sensors.emotibit.packet import build as emotibit_line
from innpar.devices.sensors.oximeters import berrymed, contec, nonin, o2ring
from innpar.devices.sensors.polar import control_frames as pmd_control
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.decoder import BATTERY, CONTROL, DATA, HEART_RATE, PolarDecoder
from innpar.devices.virtual.sensors.polar_encoder import encode, encode_pulses

Rng = np.random.Generator
Push = Callable[[bytes], object]
SHORT = ("20000",)
START = 1_790_000_000 * NS


class Stream(Protocol):
    def push(self, channel: str, arrival: int, raw: bytes) -> list[Chunk | Event]: ...


@dataclass(frozen=True)
class Target:
    """A decoder, valid frames of its sensor, and the longest input, bytes."""

    make: Callable[[], Push]
    good: Callable[[Rng], list[bytes]]
    longest: int = 64


class Disorder(Exception):
    """Times do not ascend."""


def streaming(stream: Stream, channels: Sequence[str], step: int = NS // 10) -> Push:
    """Return a function that pushes each input on the next channel, `step` ns later."""
    count = 0
    last: dict[str, int] = {}

    def push(raw: bytes) -> object:
        nonlocal count
        count += 1
        items = stream.push(channels[count % len(channels)], START + count * step, raw)
        for item in items:
            if isinstance(item, Chunk) and len(item):
                if (np.diff(item.times) <= 0).any() or item.times[0] <= last.get(item.signal, 0):
                    raise Disorder(f"{item.signal} at {item.times[0]}")
                last[item.signal] = int(item.times[-1])
        return items

    return push


def polar(rng: Rng) -> list[bytes]:
    """Return a good frame of every layout, wild and quiet, and of every other message."""
    found = [bytes([6, 60]), bytes([57]), bytes([1, 1]), pmd_control.build_features({1, 2, 3, 9})]
    for (kind, frame_type), (channels, size) in pmd.LAYOUTS.items():
        bits = 8 * size - 1
        samples = rng.integers(-(1 << bits), 1 << bits, (40, len(channels)))
        found.append(encode(kind, frame_type, np.arange(40) * NS, samples, 229)[0])
        walk = rng.integers(-9, 10, (40, len(channels))).cumsum(axis=0)
        found.append(encode(kind, frame_type, np.arange(40) * NS, walk, 229)[0])
    found.append(encode_pulses(0, (pmd.Pulse(61, 980, 6, True, True),) * 5))
    return found


def of_emotibit(rng: Rng) -> list[bytes]:
    found = []
    for k in range(40):
        tags = ("PI", "PR", "PG", "AX", "AY", "AZ", "B%", "EM")
        cells = rng.integers(-9, 99, (len(tags), 3)).tolist()
        at, number = 1000 + 120 * k, 65_530 + 8 * k
        each = enumerate(zip(tags, cells, strict=True))
        found.append(b"".join(emotibit_line(at, number + i, t, c) for i, (t, c) in each))
    return found


def of_berrymed(rng: Rng) -> list[bytes]:
    found = [bytes([0x84, int(level), 5, 72, 98]) * 4 for level in rng.integers(0, 101, 10)]
    for level in rng.integers(0, 101, 10):
        head = bytes([0xFF, 0xAA, 0, 0, 97, 97, 73, 73]) + bytes(4)
        body = head + bytes([level]) + bytes([1, 2, 3, 4, 87, int(rng.choice([1, 50, 100, 200]))])
        found.append(body + bytes([sum(body) & 0xFF]))
    return found


def of_o2ring(rng: Rng) -> list[bytes]:
    found = [o2ring.build(0, b'{"SN":"1"}', first=o2ring.ANSWER)]
    for n in (0, 5, 62, 200):
        about = bytes([97, 66, 0, 88, 0, 5, 1, 0, 0, 0, n, 0])
        answer = o2ring.build(0, about + rng.bytes(n), first=o2ring.ANSWER)
        found += [answer, answer[: len(answer) // 2], answer[len(answer) // 2 :]]
    return found


def of_cuff(rng: Rng) -> list[bytes]:
    when = datetime(2026, 9, 21, 14, 13, 20)
    full = cuff.Measurement(128, 79, 95, when, 66, 1, 0)
    return [cuff.build(full), cuff.build(full, kpa=True)]


def of_lines(rng: Rng) -> list[bytes]:
    return [
        b"ms,ir,red\n",
        *(f"{10 * k},{52000 + k},{48000 - k}\n".encode() for k in range(40)),
        b"ir:52310,red:48211\r\n",
        b"R[48211] IR[52310]\n",
        b"4294967290,1e3,nan\n",
    ]


def of_messages(rng: Rng) -> list[bytes]:
    rows = [json.dumps({"t": 20 * k, "ppg": 3000 + k, "ax": 0.1}) for k in range(40)]
    return [one.encode() for one in ("\n".join(rows[:3]), *rows, '{"ppg":[1,2,3]}', "1e400", "[]")]


def of_contec(rng: Rng) -> list[bytes]:
    levels = rng.integers(0, 100, 20).tolist()
    return [bytes([1, 0xE0, 0x80, 0x80 | v, 0x85, 0xC8, 0xE1, 0xFF, 0xFF]) * 2 for v in levels]


def of_bangle(rng: Rng) -> list[bytes]:
    return [bangle.build(k, 1_790_000_000_000 + 20 * k, 3000 + k, 1) for k in range(60)]


def of_muse(rng: Rng) -> list[bytes]:
    return [muse.build(k, tuple(rng.integers(0, 1 << 24, 6).tolist())) for k in range(60)]


def of_nonin(rng: Rng) -> list[bytes]:
    return [nonin.build(k, tuple(rng.integers(0, 1 << 16, 25).tolist())) for k in range(60)]


TARGETS: dict[str, Target] = {
    "pmd.decode": Target(lambda: pmd.decode, polar, 260),
    "pmd_control.parse_answer": Target(lambda: pmd_control.parse_answer, polar, 260),
    "pmd_control.parse_settings": Target(lambda: pmd_control.parse_settings, polar, 260),
    "pmd_control.parse_features": Target(lambda: pmd_control.parse_features, polar, 260),
    "polar": Target(
        lambda: streaming(
            PolarDecoder("fuzz", (55.0, 135.0)),
            (DATA, DATA, DATA, CONTROL, HEART_RATE, BATTERY),
            NS,
        ),
        polar,
        260,
    ),
    "muse": Target(
        lambda: streaming(muse.MuseDecoder("fuzz"), (*muse.CHANNELS, "telemetry")), of_muse, 24
    ),
    "berrymed": Target(
        lambda: streaming(berrymed.BerryMedDecoder("fuzz"), (berrymed.CHANNEL,)), of_berrymed
    ),
    "o2ring": Target(
        lambda: streaming(o2ring.O2RingDecoder("fuzz"), (o2ring.CHANNEL,)), of_o2ring, 230
    ),
    "bangle": Target(lambda: streaming(bangle.BangleDecoder("fuzz"), (bangle.CHANNEL,)), of_bangle),
    "nonin": Target(
        lambda: streaming(nonin.NoninDecoder("fuzz"), (nonin.CHANNEL, "oximetry")), of_nonin
    ),
    "cuff": Target(lambda: streaming(cuff.CuffDecoder("fuzz"), (cuff.CHANNEL,)), of_cuff, 24),
    "contec": Target(lambda: streaming(contec.ContecDecoder("fuzz"), (port.CHANNEL,)), of_contec),
    "serial": Target(lambda: streaming(lines.LineDecoder("fuzz"), (port.CHANNEL,)), of_lines),
    "json": Target(
        lambda: streaming(messages.MessageDecoder("fuzz"), (udp.CHANNEL,)), of_messages, 120
    ),
    "emotibit": Target(
        lambda: streaming(emotibit.EmotiBitDecoder("fuzz"), (emotibit.CHANNEL,)), of_emotibit, 300
    ),
}


def inputs(count: int, rng: Rng, good: list[bytes], longest: int) -> Iterator[bytes]:
    """Yield a third each of random bytes, random bytes after a valid head, and damaged frames."""
    for i in range(count):
        raw = bytearray(rng.bytes(int(rng.integers(0, longest))))
        if i % 3:
            # Mostly one after the other, as a sensor sends them.
            frame = good[i // 3 % len(good) if i % 5 else int(rng.integers(len(good)))]
            if i % 3 == 1:
                raw[:10] = frame[:10]
            else:
                raw = bytearray(frame[: int(rng.integers(1, len(frame) + 1))])
                for _ in range(int(rng.integers(0, 4))):
                    raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        yield bytes(raw)


def fuzz(name: str, count: int, seed: int) -> int:
    """Feed one decoder; print and return its number of crashes."""
    target, rng = TARGETS[name], np.random.default_rng(seed)
    push = target.make()
    outcome: Counter[str] = Counter()
    crashed = 0
    start = time.monotonic()
    for raw in inputs(count, rng, target.good(rng), target.longest):
        try:
            push(raw)
        except BadPacket:
            outcome["refused"] += 1
        except Exception as error:  # any crash is a finding
            outcome[f"CRASH {type(error).__name__}"] += 1
            crashed += 1
            if crashed <= 5:
                print(name, repr(error), raw.hex())
        else:
            outcome["taken"] += 1
    took = time.monotonic() - start
    print(f"{name}: {count} inputs, seed {seed}, {took:.0f} s: {dict(outcome)}", flush=True)
    return crashed


def main(arguments: list[str]) -> int:
    """Feed the decoders; return 1 if anything but a BadPacket came out."""
    count = int(arguments[0]) if arguments else 1_000_000
    seed = int(arguments[1]) if len(arguments) > 1 else 0
    if missing := {name.split("-")[0] for name in SENSORS} - TARGETS.keys():
        print(f"add to TARGETS in scripts/soaks/decoders.py: {', '.join(missing)}")
        return 1
    return 1 if sum(fuzz(name, count, seed) for name in arguments[2:] or TARGETS) else 0
