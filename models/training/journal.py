"""What a training run leaves behind: its log, its curves, files written whole or not at all."""

from __future__ import annotations

import csv
import io
import logging
import math
from pathlib import Path

from innpar.models.atomic import write_whole
from innpar.models.data.recordings import DataError

log: logging.Logger = logging.getLogger(__name__)


class Stopped(DataError):
    """A training run that had begun cannot go on."""

    after_start = True


def make_folder(path: Path) -> None:
    """Make a folder where there is none.

    Raises:
        DataError: There cannot be one.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be a folder for the run ({error.strerror})") from None


def replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        Stopped: It cannot be written; an earlier one is as it was.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise Stopped(
            f"{path} could not be written ({error.strerror}); the earlier one is intact: make "
            "room and go on with --resume"
        ) from None


class Journal:
    """The training log: one CSV row a validation, and curves drawn from it.

    Args:
        path: The CSV file; rows that are there already are kept.
        until: Last step of a row that is kept; a resumed run writes those after it again.

    Raises:
        DataError: The file that is there is no such log.
    """

    def __init__(self, path: Path, *, until: float = math.inf) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if until and path.is_file():
            try:
                with path.open(newline="", encoding="utf-8") as lines:
                    read = list(csv.DictReader(lines))
                rows = [{name: float(row[name]) for name in read[0]} for row in read]
                self.rows = [row for row in rows if row["step"] <= until]
            except (OSError, ValueError, TypeError, KeyError, csv.Error):
                raise DataError(f"{path} is no training log; delete it") from None

    @property
    def last_step(self) -> int:
        """Step of the last row, 0 without any."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerows(
            {k: int(v) if k == "step" else f"{v:.6g}" for k, v in r.items()} for r in self.rows
        )
        replace(self.path, text.getvalue().encode())

    def draw(self, path: Path) -> None:
        """Draw loss and errors against steps, beside the trivial baselines."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            log.warning("no curves drawn: scripts/setup train")
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
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=100, format="png")
        replace(path, drawn.getvalue())
