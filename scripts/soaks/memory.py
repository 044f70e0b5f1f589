"""Memory of a long run with its broker, after ten minutes and at its end: memory [HOURS]

Streams the simulated wearer at full speed, 2 hours of signal by default, and prints the resident
memory. The exit status is 1 where it grew by more than 10 MB.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

SHORT = ("0.25",)
MOST = 10.0
"""Growth, MB."""


def resident(pid: int) -> float:
    """Return MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


def main(arguments: list[str]) -> int:
    """Stream; return 1 where memory grew too far."""
    hours = float(arguments[0]) if arguments else 2.0
    command = [sys.executable, "-m", "innpar.stream.cli.main", "--device", "demo", "--json"]
    command += ["--broker", "embedded", "--speed", "max", "--duration", str(hours * 3600)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        begin = early = last = None
        for line in run.stdout:
            at = json.loads(line)["t"]
            begin = begin or at
            if at - begin >= 600 and early is None:
                early = resident(run.pid)
            if early is not None and run.poll() is None:
                last = resident(run.pid)
    if early is None or last is None or run.returncode:
        print("the run ended before ten minutes of signal", file=sys.stderr)
        return 1
    print(
        f"resident memory: {early:.1f} MB after 10 minutes of signal, {last:.1f} MB after "
        f"{hours:g} hours: {last - early:+.1f} MB"
    )
    return int(last - early > MOST)
