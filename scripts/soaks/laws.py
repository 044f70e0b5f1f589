"""Every law that hypothesis checks, with fresh seeds: laws [ROUNDS] [SEED]

A round runs each law once, with as many new examples as in the tests. The default is 20 rounds from
a random seed; a round's seed is printed, and reproduces its failure with `laws 1 SEED`.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = (
    "1",
    "1",
    "tests/devices/timing/test_dejitter.py",
    "tests/stream/mqtt/outgoing/test_outbox.py",
)


def main(arguments: list[str]) -> int:
    """Run the rounds; return 1 after the first that fails. Test files may follow the seed."""
    rounds = int(arguments[0]) if arguments else 20
    first = int(arguments[1]) if len(arguments) > 1 else random.randrange(2**31)
    paths = arguments[2:] or ["tests"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "hypothesis"]
    command += ["--hypothesis-profile=fresh", "--timeout=1200"]
    for seed in range(first, first + rounds):
        print(f"seed {seed}", flush=True)
        run = subprocess.run([*command, f"--hypothesis-seed={seed}", *paths], cwd=ROOT, check=False)
        if run.returncode:
            again = " ".join(["scripts/soak laws 1", str(seed), *arguments[2:]])
            print(f"a law failed; reproduce it with: {again}", file=sys.stderr)
            return 1
    return 0
