"""Error boundaries: one wearer's, one task's or one message's error never ends the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from innpar.devices import HostClock, NoticeCode, notice
from innpar.errors import InnparError
from innpar.stream.pipeline.wearer import Wearer
from innpar.stream.sinks.base import RunOver, Sink

log: logging.Logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""s before a failed task starts again: doubled each time, and reset once it ran for the longest."""

ENDS_THE_RUN = (InnparError, RunOver)
"""Errors of the run as a whole: its broker, its disk, its reader."""


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def reason(error: BaseException) -> str:
    """Return an unforeseen error as one line of ASCII text."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200].encode("ascii", "backslashreplace").decode()


async def supervised(
    name: str,
    work: Callable[[], Awaitable[None]],
    wearers: Sequence[Wearer],
    sink: Sink,
    clock: HostClock,
) -> None:
    """Run a task beside the streams; start it again after an unforeseen error, and report that.

    Args:
        name: Of the task, for people.
        work: Function that runs the task once.
        wearers: Those to whom it matters.
        sink: Destination of the notices.
        clock: The host's.
    """
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            return await work()
        except ENDS_THE_RUN:
            raise
        except Exception as error:
            log.exception("%s failed", name)
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            text = f"{name} failed ({reason(error)}) and starts again in {pause:g} s"
            for wearer in wearers:
                now = clock.now()
                await sink.send(notice(wearer.device.id, now, NoticeCode.TASK_RESTARTED, text))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def report_failure(wearer: Wearer, error: Exception, sink: Sink, clock: HostClock) -> None:
    """Report that a wearer's stream has ended by an unforeseen error, and that the others go on."""
    name = wearer.device.id
    log.error("%s: the stream has failed", name, exc_info=error)
    text = f"the stream of {name} has ended by an error ({reason(error)}): start it again"
    await sink.send(notice(name, clock.now(), NoticeCode.STREAM_FAILED, text))
