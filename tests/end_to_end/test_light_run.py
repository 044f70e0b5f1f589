"""A run on a CPU stays light: neither torch nor scipy, little memory, a quick start."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import json, resource, sys, time
from innpar.stream.cli.main import main

given = "--device demo --broker embedded --json --speed 4 --duration 12 --cuff 122/74@8"
status = main(given.split())
spent = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as lines:  # ru_maxrss is inherited from the process that forked
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
heavy = sorted({"torch", "scipy", "pandas", "matplotlib"} & set(sys.modules))
found = {
    "status": status,
    "heavy": heavy,
    "cpu": spent.ru_utime + spent.ru_stime,
    "mb": peak * 1024 / 1e6,
}
print(json.dumps(found), file=sys.stderr)
"""


def test_a_demo_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stderr.splitlines()[-1])
    beats = [json.loads(line) for line in done.stdout.splitlines()]
    assert found["status"] == 0
    assert found["heavy"] == []
    assert found["mb"] < 120
    assert found["cpu"] < 6  # under one on an idle computer
    assert any(beat["valid"] for beat in beats)
