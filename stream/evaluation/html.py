"""Evaluation report as one HTML file: tables, Bland–Altman plots, errors, waveforms."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from innpar.models.errors import ModelError
from innpar.stream.evaluation.score import PRESSURES
from innpar.stream.evaluation.streaming import EvaluatedRecord
from innpar.stream.evaluation.tables import notes

Floats = npt.NDArray[np.float64]

_MOST = 4000  # points in a plot
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child{text-align:left}img{max-width:100%}"
)


def check_report(path: Path, inputs: Sequence[Path]) -> None:
    """Check before a long run that its report can be written.

    Args:
        path: File of the report.
        inputs: Files that the evaluation reads.

    Raises:
        ModelError: matplotlib is missing, or `path` cannot be written or is one of the inputs.
    """
    _figure()
    new = not path.exists()
    if not new and any(one.exists() and path.samefile(one) for one in inputs):
        raise ModelError(
            f"{path} is an input of the evaluation; choose another file for the report"
        )
    try:
        path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from None


def write_report(
    path: Path, title: str, groups: dict[str, Any], records: Sequence[EvaluatedRecord]
) -> None:
    """Write the report.

    Args:
        path: File of the report.
        title: Heading.
        groups: Figures by group, see `score`.
        records: The evaluated records, for the plots.

    Raises:
        ModelError: matplotlib is missing, or the file cannot be written.
    """
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"]
    parts += [f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>"]
    parts += ["<p>Research software. Not a medical device, not for diagnosis or treatment.</p>"]
    for name, group in groups.items():
        parts.append(
            f"<h2>{html.escape(name)}: {group['subjects']} subjects, {group['hours']} h, "
            f"{group['beats']} beats</h2>{_table(group)}<ul>"
        )
        parts += [f"<li>{html.escape(line)}</li>" for line in notes(group)] + ["</ul>"]
    parts += [_picture(_bland_altman, records), _picture(_errors_by_change, records)]
    parts += [_picture(_examples, records), _picture(_time_course, records)]
    try:
        path.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from None


def _table(group: dict[str, Any]) -> str:
    head = "".join(f"<th>{p.upper()} ME ± SD<th>MAE" for p in PRESSURES)
    rows = [f"<table><tr><th>{head}"]
    for unit in ("per_beat", "per_30_s"):
        for name, values in group[unit].items():
            cells = "".join(
                f"<td>{values[p]['me']:+.1f} ± {values[p]['sd']:.1f}<td>{values[p]['mae']:.2f}"
                for p in PRESSURES
            )
            rows.append(f"<tr><td>{name}, {unit.replace('_', ' ')}{cells}")
    return "".join(rows) + "</table>"


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ModelError("a report needs matplotlib: scripts/setup report") from None
    return Figure(figsize=(12, 3.8), layout="constrained")


def _picture(draw: Any, records: Sequence[EvaluatedRecord]) -> str:
    figure = _figure()
    caption = draw(figure, records)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    encoded = base64.b64encode(image.getvalue()).decode()
    return f"<h2>{caption}</h2><img alt='{caption}' src='data:image/png;base64,{encoded}'>"


def _thinned(records: Sequence[EvaluatedRecord], name: str) -> Floats:
    values = np.concatenate([getattr(j, name) for j in records])
    return np.asarray(values[:: max(len(values) // _MOST, 1)])


def _bland_altman(figure: Any, records: Sequence[EvaluatedRecord]) -> str:
    found, truth = _thinned(records, "found"), _thinned(records, "truth")
    for k, panel in enumerate(figure.subplots(1, 3)):
        mean, error = (found[:, k] + truth[:, k]) / 2, found[:, k] - truth[:, k]
        panel.plot(mean, error, ".", markersize=2, alpha=0.4)
        for level in (-1.96, 0.0, 1.96):
            panel.axhline(error.mean() + level * error.std(), color="k", linewidth=0.8)
        panel.set(title=PRESSURES[k].upper(), xlabel="mean of both, mmHg", ylabel="error, mmHg")
    return "Bland–Altman"


def _errors_by_change(figure: Any, records: Sequence[EvaluatedRecord]) -> str:
    found, truth = _thinned(records, "found"), _thinned(records, "truth")
    cuff = _thinned(records, "cuff")
    known = np.isfinite(cuff[:, 0])
    for k, panel in enumerate(figure.subplots(1, 3)):
        change = (truth - cuff)[known, k]
        panel.plot(change, (found - truth)[known, k], ".", markersize=2, alpha=0.4, label="model")
        line = np.array([change.min(), change.max()]) if len(change) else np.zeros(2)
        panel.plot(line, -line, "k--", linewidth=0.8, label="holding the reading")
        panel.set(title=PRESSURES[k].upper(), xlabel="true change since the reading, mmHg")
        panel.set_ylabel("error, mmHg")
    panel.legend()
    return "Error against the change since the reading"


def _examples(figure: Any, records: Sequence[EvaluatedRecord]) -> str:
    """Plot some beats from the middle of the longest records of three subjects."""
    longest: dict[str, EvaluatedRecord] = {}
    for one in sorted(records, key=lambda j: len(j.seconds)):
        longest[one.subject] = one
    chosen = sorted(longest.values(), key=lambda j: -len(j.seconds))[:3]
    for one, panel in zip(chosen, np.atleast_1d(figure.subplots(1, len(chosen))), strict=True):
        seconds, found, truth = one.example
        panel.plot(seconds, truth, "k", linewidth=1.0, label="true")
        panel.plot(seconds, found, color="C0", linewidth=1.0, label="model")
        panel.set(title=one.subject, xlabel="s", ylabel="mmHg")
    panel.legend()
    return "Waveforms, the longest record of three subjects"


def _time_course(figure: Any, records: Sequence[EvaluatedRecord]) -> str:
    longest = max(records, key=lambda j: len(j.seconds))
    panel = figure.subplots()
    minutes = longest.seconds / 60
    for k in (0, 1):
        panel.fill_between(
            minutes, longest.low[:, k], longest.high[:, k], alpha=0.2, linewidth=0, color=f"C{k}"
        )
        panel.plot(minutes, longest.found[:, k], color=f"C{k}", linewidth=0.6, label="model")
        panel.plot(minutes, longest.truth[:, k], "k", linewidth=0.4, label="true")
        panel.plot(minutes, longest.cuff[:, k], "--", color="grey", linewidth=0.8, label="held")
    panel.set(xlabel="minutes", ylabel="mmHg")
    panel.legend(*(part[:3] for part in panel.get_legend_handles_labels()))
    return "The longest record"
