"""Feed every decoder random and mutated bytes; print what came of it. Any other error is a crash.

python scripts/fuzz_decoders.py [INPUTS] [SEED]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from innpar.devices import pmd, pmd_control
from innpar.devices.base import NS, BadPacket
from innpar.devices.polar_stream import BATTERY, CONTROL, DATA, HEART_RATE, PolarStream
from innpar.devices.virtual.frames import encode


def seeds(rng: np.random.Generator) -> list[bytes]:
    """Return one good frame of every layout."""
    found = []
    for (kind, frame_type), (channels, size) in pmd.LAYOUTS.items():
        bits = 8 * size - 1
        samples = rng.integers(-(1 << bits), 1 << bits, (40, len(channels)))
        found.append(encode(kind, frame_type, np.arange(40) * NS, samples, 229)[0])
        walk = rng.integers(-9, 10, (40, len(channels))).cumsum(axis=0)
        found.append(encode(kind, frame_type, np.arange(40) * NS, walk, 229)[0])
    return found


def inputs(count: int, rng: np.random.Generator, good: list[bytes]) -> Iterator[bytes]:
    """Yield a third each of random bytes, random bytes behind a good header, and damaged frames."""
    for i in range(count):
        raw = bytearray(rng.bytes(int(rng.integers(0, 260))))
        if i % 3:
            frame = good[int(rng.integers(len(good)))]
            if i % 3 == 1:
                raw[:10] = frame[:10]
            else:
                raw = bytearray(frame[: int(rng.integers(1, len(frame) + 1))])
                for _ in range(int(rng.integers(0, 4))):
                    raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        yield bytes(raw)


def stream() -> Callable[[bytes], object]:
    """Return a stream that takes whatever comes on whatever channel."""
    decoder = PolarStream("fuzz", (55.0, 135.0))
    channels = (DATA, DATA, DATA, CONTROL, HEART_RATE, BATTERY)
    count = 0

    def push(raw: bytes) -> object:
        nonlocal count
        count += 1
        return decoder.push(channels[count % len(channels)], count * NS, raw)

    return push


def main() -> int:
    """Run; 1 if anything but a BadPacket came out."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    targets: dict[str, Callable[[bytes], object]] = {
        "pmd.decode": pmd.decode,
        "pmd_control.parse_answer": pmd_control.parse_answer,
        "pmd_control.parse_settings": pmd_control.parse_settings,
        "pmd_control.parse_features": pmd_control.parse_features,
        "PolarStream.push": stream(),
    }
    crashed = 0
    for name, target in targets.items():
        rng = np.random.default_rng(seed)
        outcome: Counter[str] = Counter()
        start = time.monotonic()
        for raw in inputs(count, rng, seeds(rng)):
            try:
                target(raw)
            except BadPacket:
                outcome["refused"] += 1
            except Exception as error:  # a crash is what is looked for
                outcome[f"CRASH {type(error).__name__}"] += 1
                crashed += 1
                if crashed <= 5:
                    print(name, repr(error), raw.hex())
            else:
                outcome["decoded"] += 1
        print(
            f"{name}: {count} inputs, seed {seed}, {time.monotonic() - start:.0f} s: "
            f"{dict(outcome)}"
        )
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
