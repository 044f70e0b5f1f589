"""Draw docs/pictures/terminal.svg from a real run of the demo: .venv/bin/python scripts/picture.py

The beats come as JSON lines and are drawn by the function that draws them in the terminal; the
messages are those of the run, in the order of their arrival.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from innpar.stream.sinks.beat_line import beat_line

PICTURE = Path(__file__).resolve().parents[1] / "docs/pictures/terminal.svg"
RUN = ("--device", "demo", "--speed", "2", "--duration", "32")
SHOWN_EVERY = 3.0
"""s of signal between two beats in the picture."""
WIDTH = 122
"""Columns."""


async def lines_of(arguments: tuple[str, ...]) -> list[Text]:
    """Run `innpar-stream` and return its output in the order of arrival."""
    command = (sys.executable, "-m", "innpar", *arguments, "--broker", "embedded", "--json")
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[Text] = []

    async def beats(stream: asyncio.StreamReader) -> None:
        shown = float("-inf")
        async for line in stream:
            beat = json.loads(line)
            if beat["abp"]["start"] - shown >= SHOWN_EVERY:
                shown = beat["abp"]["start"]
                lines.append(beat_line(beat))

    async def messages(stream: asyncio.StreamReader) -> None:
        async for line in stream:
            lines.append(Text(line.decode().rstrip()))

    await asyncio.gather(beats(process.stdout), messages(process.stderr))
    if await process.wait():
        sys.exit("\n".join(line.plain for line in lines))
    return lines


def main() -> None:
    console = Console(record=True, width=WIDTH, file=sys.stderr, force_terminal=True)
    console.print(Text.assemble(("$ ", "green"), "scripts/demo"))
    for line in asyncio.run(lines_of(RUN)):
        line.no_wrap = False
        console.print(line, highlight=False)
    PICTURE.parent.mkdir(exist_ok=True)
    console.save_svg(str(PICTURE), title="innpar-stream", theme=MONOKAI)


main()
