"""Draw docs/pictures/terminal.svg from a run of the demo.

.venv/bin/python scripts/picture_terminal.py

Beats are read as JSON lines and rendered by the function that renders them in the terminal;
messages are copied. Both appear in order of arrival.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from innpar.stream.sinks.beat_line import beat_line

PICTURE = Path(__file__).resolve().parents[1] / "docs/pictures/terminal.svg"
RUN = ("--speed", "2", "--duration", "32")
SHOWN_EVERY = 3.0
"""s of signal between two beats in the picture."""
WIDTH = 122
"""Columns."""


async def lines_of(arguments: tuple[str, ...]) -> list[Text]:
    """Run the demo and return the lines of its output."""
    command = (sys.executable, "-m", "innpar", "--device", "demo", "--broker", "embedded", "--json")
    process = await asyncio.create_subprocess_exec(*command, *arguments, stdout=PIPE, stderr=PIPE)
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
    console.print(Text.assemble(("$ ", "green"), " ".join(("scripts/demo", *RUN))))
    for line in asyncio.run(lines_of(RUN)):
        line.no_wrap = False  # wrapped as in a terminal, not cut
        console.print(line, highlight=False)
    PICTURE.parent.mkdir(exist_ok=True)
    svg = console.export_svg(title="innpar-stream", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"@font-face {.*?}\n", "", svg, flags=re.DOTALL)  # fonts are remote
    PICTURE.write_text(svg, encoding="utf-8")


main()
