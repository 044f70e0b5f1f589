"""What a training run leaves behind: its log, its curves, files written whole or not at all."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable
from pathlib import Path

from .data import DataError

log = logging.getLogger(__name__)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path`, then rename: a full disk leaves what was there before."""
    beside = path.with_name(path.name + ".part")
    try:
        write(beside)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise DataError(
            f"{path} could not be written ({error}); the earlier one is intact"
        ) from None


class Journal:
    """The training log: one CSV row a validation, and curves drawn from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as lines:
                self.rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]

    def keep_until(self, step: int) -> None:
        """Forget rows that a resumed run will write again."""
        self.rows = [row for row in self.rows if row["step"] <= step]

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as lines:
                writer = csv.DictWriter(lines, list(row))
                writer.writeheader()
                writer.writerows(
                    {k: v if k == "step" else f"{v:.6g}" for k, v in r.items()} for r in self.rows
                )

        replace(self.path, write)

    def draw(self, path: Path) -> None:
        """Draw loss and errors against steps, beside the trivial baselines."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            log.warning("no curves drawn: pip install 'innpar-stream[train]'")
            return
        steps = [row["step"] for row in self.rows]
        figure = Figure(figsize=(11, 3.2), layout="constrained")
        panels = figure.subplots(1, 4)
        panels[0].plot(steps, [row["loss"] for row in self.rows])
        panels[0].set(title="training loss", xlabel="step")
        for panel, pressure in zip(panels[1:], ("sbp", "dbp", "map"), strict=True):
            for state in ("uncalibrated", "population", "held", "calibrated"):
                values = [row[f"{state}_{pressure}"] for row in self.rows]
                dashed = "--" if state in ("population", "held") else "-"
                panel.plot(steps, values, dashed, label=state)
            panel.set(title=f"{pressure.upper()} error, mmHg", xlabel="step")
        panels[-1].legend(fontsize="small")
        figure.savefig(path, dpi=100)
