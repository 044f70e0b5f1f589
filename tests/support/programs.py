"""The program as a process, whose lines are read."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run ``innpar-stream`` inside the context, and kill it at its end.

    Yields:
        Its output; read it with `line_with`.
    """
    command = (sys.executable, "-m", "innpar.stream.cli.main", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.stdout.read()
        await process.wait()


async def line_with(stream: asyncio.StreamReader, pattern: str) -> re.Match[str]:
    """Return the match in the first line that has one."""
    lines = []
    async with asyncio.timeout(60):
        async for line in stream:
            lines.append(line.decode())
            if found := re.search(pattern, lines[-1]):
                return found
    raise AssertionError(f"no line with {pattern} in {''.join(lines)}")
