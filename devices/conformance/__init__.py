"""Whether a device keeps its word, for whoever writes one: ``check(MyDevice())``.

Also ``python -m innpar.devices.conformance NAME[:ARGUMENT]``. What is looked at is what `Device`,
`Chunk` and `Event` promise and the pipeline relies on; docs/devices.md tells each law.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from innpar.devices.base import Device, DeviceError, HostClock
from innpar.devices.conformance.items import Judge
from innpar.devices.timing.pace import SystemClock

CANCEL_AFTER = (0.0, 0.001, 0.02, 0.1, 0.5)
"""s into an opening at which it is cancelled, each in a run of its own."""

GRACE = 2.0
"""s after leaving within which a task or thread may still end."""

CLOSING = 5.0
"""s within which a cancelled device has to be closed."""


class NotConforming(Exception):
    """What a device does wrong.

    Attributes:
        faults: A sentence each.
    """

    def __init__(self, device: str, faults: Sequence[str]) -> None:
        super().__init__("\n".join([f"{device} does not conform:", *(f"- {f}" for f in faults)]))
        self.faults: tuple[str, ...] = tuple(faults)


def check(device: Device, *, seconds: float = 10.0, clock: HostClock | None = None) -> None:
    """Open the device several times and watch it.

    Args:
        device: Worn or not; samples have to come.
        seconds: To listen, by the computer's clock.
        clock: Handed to the device; the computer's by default.

    Raises:
        NotConforming: With every fault seen.
        DeviceError: It cannot be opened.
    """
    found = asyncio.run(faults(device, seconds=seconds, clock=clock))
    if found:
        raise NotConforming(device.id, found)


async def faults(
    device: Device, *, seconds: float = 10.0, clock: HostClock | None = None
) -> list[str]:
    """Return what `check` would raise, a sentence each; for use inside a running loop."""
    clock = clock or SystemClock()
    found: list[str] = []
    async with _nothing_left(found, "after it was closed"):
        found += await _listen(device, clock, seconds)
    for after in CANCEL_AFTER:
        async with _nothing_left(found, f"after it was cancelled {after * 1e3:g} ms into opening"):
            await _cancel(device, clock, after, found)
    async with _nothing_left(found, "after it was opened once more"):
        again = await _listen(device, clock, min(seconds, 2.0))
        found += [f"when opened once more: {fault}" for fault in again]
    return list(dict.fromkeys(found))


async def _listen(device: Device, clock: HostClock, seconds: float) -> list[str]:
    """Judge everything that the device yields in so many seconds."""
    judge = Judge(device, clock)
    try:
        async with device.open(clock=clock, tap=judge.tap) as items:
            judge.opened()
            try:
                async with asyncio.timeout(seconds):
                    async for item in items:
                        judge.take(item)
                    judge.ended()
            except TimeoutError:
                judge.stopped()
    except DeviceError as error:
        if not judge.is_open:
            raise
        judge.fault(f"an error ended it, where it has to mend itself: {error}")
    return judge.verdict()


async def _cancel(device: Device, clock: HostClock, after: float, found: list[str]) -> None:
    async def use() -> None:
        async with device.open(clock=clock) as items:
            async for _ in items:
                # A file at full speed would be over before it is cancelled.
                await asyncio.sleep(0.001)

    task = asyncio.create_task(use(), name="conformance")
    await asyncio.sleep(after)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=CLOSING)
    if not done:
        found.append(f"cancelled {after * 1e3:g} ms into opening it is not closed {CLOSING:g} s on")
        return
    if not task.cancelled() and (error := task.exception()) is not None:
        found.append(f"cancelled {after * 1e3:g} ms into opening it raised {error!r}")


@asynccontextmanager
async def _nothing_left(found: list[str], when: str) -> AsyncIterator[None]:
    """Look for tasks and threads that were not there before."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())

    def left() -> list[str]:
        running = [f"task {task.get_name()}" for task in asyncio.all_tasks() - tasks]
        # The loop keeps the threads of its own pool for the next who needs one.
        return running + [
            f"thread {thread.name}"
            for thread in set(threading.enumerate()) - threads
            if not thread.name.startswith("asyncio_")
        ]

    yield
    until = time.monotonic() + GRACE
    while left() and time.monotonic() < until:  # noqa: ASYNC110 (nobody sets an event)
        await asyncio.sleep(0.02)
    found += [f"{name} is left {when}" for name in left()]


def main(arguments: Sequence[str]) -> int:
    """Check the devices named; return 0 where all conform, 2 where none is named."""
    from innpar.devices.registry import create

    if not arguments:
        print(
            "which device? python -m innpar.devices.conformance NAME[:ARGUMENT] …; "
            "`innpar-stream devices` lists the names",
            file=sys.stderr,
        )
        return 2
    status = 0
    for spec in arguments:
        try:
            check(create(spec))
        except (NotConforming, DeviceError) as error:
            print(error)
            status = 1
        else:
            print(f"{spec} conforms")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
