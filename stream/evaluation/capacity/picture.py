"""Plot of a capacity benchmark: cores, the cost of an added wearer, and latency."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from innpar.stream.errors import ConfigError

if TYPE_CHECKING:
    from innpar.stream.evaluation.capacity.bench import CapacityRow

KINDS = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """Check before the trials that their plot can be drawn.

    Raises:
        ConfigError: matplotlib is not installed, or the suffix or folder is wrong.
    """
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: the name of a plot ends with {', '.join(KINDS)}")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist; create it, or choose another")
    try:
        import matplotlib as _  # noqa: F401 - only whether it is there
    except ImportError:
        raise ConfigError("a plot needs matplotlib: scripts/setup report") from None


def added_cost(rows: Sequence[CapacityRow]) -> list[tuple[float, float]]:
    """Return, between two trials in a row, the mean number of wearers and the cost of one more.

    Returns:
        Wearers, and CPU ms of a second of an added wearer.
    """
    found = list[tuple[float, float]]()
    for one, other in itertools.pairwise(row.trial for row in rows):
        if other.wearers > one.wearers:
            each = 1e3 * (other.core - one.core) / (other.wearers - one.wearers)
            found.append(((one.wearers + other.wearers) / 2, each))
    return found


def draw(path: Path, rows: Sequence[CapacityRow]) -> None:
    """Draw the trials, in order of their size."""
    from matplotlib.figure import Figure

    counts = [row.trial.wearers for row in rows]
    figure = Figure(figsize=(9, 8), dpi=110, layout="constrained")
    cores, cost, delay = figure.subplots(3, 1, sharex=True)
    cores.plot(counts, [row.trial.core for row in rows], "o-", color="#2166ac")
    cores.set_ylabel("cores")
    added = added_cost(rows)
    cost.plot([at for at, _ in added], [ms for _, ms in added], "o-", color="#1b7837")
    cost.set_ylabel("CPU ms a second\nof an added wearer")
    for name, colour in (("p50_ms", "#999999"), ("p95_ms", "#762a83"), ("p99_ms", "#b2182b")):
        delays = [getattr(row.trial, name) for row in rows]
        delay.plot(counts, delays, "o-", color=colour, label=name.removesuffix("_ms"))
    delay.set(ylabel="compute latency, ms", yscale="log", xlabel="wearers")
    delay.legend()
    for axes in (cores, cost, delay):
        axes.set_ylim(bottom=None if axes is delay else 0)
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})") from None
