"""Print the pressures of a device, beat by beat, as they come.

    python examples/live_beats.py [DEVICE [CUFF]]

DEVICE is a name from `innpar-stream devices`, such as polar-verity or replay:FILE; without one, a
simulated wearer. CUFF is a reading such as 128/79. Ctrl-C ends.
"""

import asyncio
import sys
from contextlib import suppress

import innpar


async def main(device: str = "demo", cuff: str | None = None) -> None:
    async with innpar.live(device, cuff=cuff) as beats:
        async for beat in beats:
            if beat.valid:
                print(f"{beat.sbp:3.0f}/{beat.dbp:.0f} mmHg, quality {beat.quality:.0%}")
            else:
                print(f"no pressures: {', '.join(beat.reasons)}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
