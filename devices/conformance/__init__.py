"""Conformance check for authors of devices: ``check(MyDevice())``.

Also ``python -m innpar.devices.conformance NAME[:ARGUMENT]``. It tests the rules of `Device`,
`Chunk` and `Event` on which the pipeline relies; docs/devices.md lists them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from innpar.devices.base import Chunk, Device, DeviceError, HostClock
from innpar.devices.conformance.items import Judge
from innpar.devices.timing.pace import SystemClock

CANCEL_AFTER = (0.0, 0.001, 0.02, 0.1, 0.5)
"""Times, s after the start of opening, at which separate runs are cancelled."""

FIRST_CHUNK = 5.0
"""Time, s, by which the first chunk may be late: a slow link, a busy computer."""

GRACE = 2.0
"""Time, s, for tasks and threads to end after closing."""

CLOSING = 5.0
"""Time limit, s, of closing a cancelled device."""


class NotConforming(Exception):
    """The device violates rules.

    Attributes:
        faults: One sentence per violation.
    """

    def __init__(self, device: str, faults: Sequence[str]) -> None:
        super().__init__("\n".join([f"{device} does not conform:", *(f"- {f}" for f in faults)]))
        self.faults: tuple[str, ...] = tuple(faults)


def check(device: Device, *, seconds: float = 10.0, clock: HostClock | None = None) -> None:
    """Open a device several times and check everything it yields.

    Args:
        device: Device to check; it must deliver samples, but need not be worn.
        seconds: Duration of the first run, by the computer's clock.
        clock: Passed to the device; by default the computer's.

    Raises:
        NotConforming: With all violations found.
        DeviceError: The device cannot be opened.
    """
    found = asyncio.run(faults(device, seconds=seconds, clock=clock))
    if found:
        raise NotConforming(device.id, found)


async def faults(
    device: Device, *, seconds: float = 10.0, clock: HostClock | None = None
) -> list[str]:
    """Return the violations that `check` would raise; for use inside a running event loop."""
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
    """Check everything that the device yields within `seconds` of its first chunk."""
    judge = Judge(device, clock)
    try:
        async with device.open(clock=clock, tap=judge.tap) as items:
            judge.opened()
            try:
                async with asyncio.timeout(seconds + FIRST_CHUNK) as limit:
                    waiting, loop = True, asyncio.get_running_loop()
                    async for item in items:
                        judge.take(item)
                        if waiting and isinstance(item, Chunk):
                            waiting = False
                            limit.reschedule(loop.time() + seconds)
                    judge.ended()
            except TimeoutError:
                judge.stopped()
    except DeviceError as error:
        if not judge.is_open:
            raise
        judge.fault(f"it ended with an error instead of recovering by itself: {error}")
    return judge.verdict()


async def _cancel(device: Device, clock: HostClock, after: float, found: list[str]) -> None:
    async def use() -> None:
        async with device.open(clock=clock) as items:
            async for _ in items:
                # A file at full speed would end before it is cancelled.
                await asyncio.sleep(0.001)

    task = asyncio.create_task(use(), name="conformance")
    await asyncio.sleep(after)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=CLOSING)
    if not done:
        found.append(
            f"cancelled {after * 1e3:g} ms into opening, it is not closed within {CLOSING:g} s"
        )
        return
    if not task.cancelled() and (error := task.exception()) is not None:
        found.append(f"cancelled {after * 1e3:g} ms into opening, it raised {error!r}")


@asynccontextmanager
async def _nothing_left(found: list[str], when: str) -> AsyncIterator[None]:
    """Report tasks and threads that were started inside and not ended."""
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())

    def left() -> list[str]:
        running = [f"task {task.get_name()}" for task in asyncio.all_tasks() - tasks]
        # The event loop keeps the threads of its own pool.
        return running + [
            f"thread {thread.name}"
            for thread in set(threading.enumerate()) - threads
            if not thread.name.startswith("asyncio_")
        ]

    yield
    until = time.monotonic() + GRACE
    while left() and time.monotonic() < until:  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.02)
    found += [f"{name} is left {when}" for name in left()]


def main(arguments: Sequence[str]) -> int:
    """Check devices by name; return 0 if all conform, 1 if any does not, 2 without a name."""
    from innpar.devices.registry import create

    if not arguments:
        print(
            "usage: python -m innpar.devices.conformance NAME[:ARGUMENT] …; "
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
