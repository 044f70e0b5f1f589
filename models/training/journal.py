"""Output of a training run: log, curves, atomic writes."""

from __future__ import annotations

import csv
import io
import logging
import math
from pathlib import Path

from innpar.models.atomic import write_whole
from innpar.models.errors import DataError

log: logging.Logger = logging.getLogger(__name__)


class TrainingStopped(DataError):
    """A running training cannot continue; the message says why and what to do."""

    after_start = True


def make_folder(path: Path) -> None:
    """Create a folder if it does not exist.

    Raises:
        DataError: It cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"folder {path} cannot be created ({error.strerror}); use another --out"
        ) from None


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        TrainingStopped: It cannot be written; an earlier file is intact.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise TrainingStopped(
            f"{path} could not be written ({error.strerror}); the earlier one is intact; free "
            "space and continue with --resume"
        ) from None


class Journal:
    """Training log: a CSV file with one row per validation, and its curves.

    Args:
        path: The CSV file; existing rows are kept.
        until: Last step whose row is kept; a resumed run writes the later ones again.

    Attributes:
        path: The CSV file.
        rows: Columns by name, one dict per validation.

    Raises:
        DataError: The existing file is not such a log.
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
                raise DataError(
                    f"{path} is not a training log; delete it or use another --out"
                ) from None

    @property
    def last_step(self) -> int:
        """Step of the last row; 0 if there are no rows."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    def add(self, row: dict[str, float]) -> None:
        """Append a row and write the file."""
        self.rows.append(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerows(
            {k: int(v) if k == "step" else f"{v:.6g}" for k, v in r.items()} for r in self.rows
        )
        replace(self.path, text.getvalue().encode())

    def draw(self, path: Path) -> None:
        """Plot loss and errors over steps, with both baselines, as PNG."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            log.warning("no curves: matplotlib is not installed: scripts/setup train")
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
