"""Charts as inline SVG: no script, no font, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from innpar.stream.messages.hygiene import escape

Floats = npt.NDArray[np.float64]

LEFT, RIGHT, TOP, BOTTOM = 44.0, 8.0, 10.0, 20.0
"""Margins of a chart, px."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Chart:
    """One panel; later elements are drawn over earlier ones.

    Attributes:
        x: Limits of the x axis, in the unit of the x values.
        y: Limits of the y axis.
        width: Width, px.
        height: Height, px.
        unit: Label of the y axis.
        label: Description for screen readers.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 720.0
    height: float = 160.0
    unit: str = ""
    label: str = ""
    _parts: list[str] = field(default_factory=list)

    def _at(self, x: Floats, y: Floats) -> str:
        points = zip(self._x(x).tolist(), self._y(y).tolist(), strict=True)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)

    def _x(self, x: Floats) -> Floats:
        low, high = self.x
        scale = (self.width - LEFT - RIGHT) / ((high - low) or 1.0)
        return np.asarray(LEFT + (np.asarray(x, np.float64) - low) * scale)

    def _y(self, y: Floats) -> Floats:
        low, high = self.y
        scale = (self.height - TOP - BOTTOM) / ((high - low) or 1.0)
        values = np.clip(np.asarray(y, np.float64), low, high)
        return np.asarray(self.height - BOTTOM - (values - low) * scale)

    def grid(self, ticks: Sequence[tuple[float, str]]) -> None:
        """Draw horizontal lines at round values, and ticks (x, label)."""
        for value in round_values(*self.y, max(2, round(self.height / 40))):
            at = float(self._y(np.array([value]))[0])
            self._parts.append(
                f'<line class="g" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{at:.1f}" '
                f'y2="{at:.1f}"/><text x="{LEFT - 5}" y="{at + 3.5:.1f}" '
                f'text-anchor="end">{value:g}</text>'
            )
        for value, text in ticks:
            at = float(self._x(np.array([value]))[0])
            self._parts.append(
                f'<line class="g" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" '
                f'y2="{self.height - BOTTOM}"/><text x="{at:.1f}" y="{self.height - 6}" '
                f'text-anchor="middle">{escape(text)}</text>'
            )
        if self.unit:
            middle = (self.height - BOTTOM + TOP) / 2
            self._parts.append(
                f'<text transform="translate(11,{middle}) rotate(-90)" '
                f'text-anchor="middle">{escape(self.unit)}</text>'
            )

    def line(self, x: Floats, y: Floats, colour: str, width: float = 1.4) -> None:
        """Draw a line, broken where `y` is not finite."""
        for piece in _runs(np.isfinite(y)):
            if len(piece) == 1:
                self.dots(x[piece], y[piece], colour, width)
                continue
            self._parts.append(
                f'<polyline points="{self._at(x[piece], y[piece])}" fill="none" '
                f'stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
            )

    def band(self, x: Floats, low: Floats, high: Floats, colour: str) -> None:
        """Fill between two lines, broken where either is not finite."""
        for piece in _runs(np.isfinite(low) & np.isfinite(high)):
            there = self._at(x[piece], high[piece])
            back = self._at(x[piece][::-1], low[piece][::-1])
            self._parts.append(
                f'<polygon points="{there} {back}" fill="{colour}" fill-opacity="0.13"/>'
            )

    def dots(self, x: Floats, y: Floats, colour: str, radius: float = 2.5) -> None:
        """Draw points."""
        for a, b in zip(self._x(x).tolist(), self._y(y).tolist(), strict=True):
            self._parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}" fill="{colour}"/>')

    def bars(self, x: Floats, low: Floats, high: Floats, colour: str, state: str = "") -> None:
        """Draw vertical bars with caps, as for cuff readings; dashed, with a title, in a state."""
        dashes = ' stroke-dasharray="3 2"' if state else ""
        title = f"<title>{escape(state)}</title>" if state else ""
        edges = zip(self._x(x).tolist(), self._y(low).tolist(), self._y(high).tolist(), strict=True)
        for at, bottom, top in edges:
            self._parts.append(
                f'<path d="M{at - 4:.1f} {top:.1f}h8M{at - 4:.1f} {bottom:.1f}h8'
                f'M{at:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="1.6" '
                f'fill="none"{dashes}>{title}</path>'
            )

    def spans(self, starts: Floats, ends: Floats, kind: str) -> None:
        """Shade ranges of x over the full height; `kind` is a class of the page's style sheet."""
        low, high = self._x(np.clip(starts, *self.x)), self._x(np.clip(ends, *self.x))
        for a, b in zip(low.tolist(), high.tolist(), strict=True):
            self._parts.append(
                f'<rect class="{kind}" x="{a:.1f}" y="{TOP}" width="{max(b - a, 0.8):.1f}" '
                f'height="{self.height - TOP - BOTTOM:.1f}"/>'
            )

    def flags(self, x: Floats, texts: Sequence[str], colour: str) -> None:
        """Draw vertical lines with a label each; fainter if none has a label."""
        faint = 1 if any(texts) else 0.4
        for at, text in zip(self._x(x).tolist(), texts, strict=True):
            self._parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self.height - BOTTOM}" '
                f'stroke="{colour}" stroke-width="1" stroke-opacity="{faint}"/>'
                f'<text x="{at + 2:.1f}" y="{TOP + 8}" '
                f'fill="{colour}" class="f">{escape(text)}</text>'
            )

    def svg(self) -> str:
        """Return the element."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(self._parts)}</svg>'
        )


def stacked(parts: Sequence[tuple[str, float, str]], width: float = 720.0) -> str:
    """Return one bar of shares (name, share, colour) that add up to 1."""
    at, drawn = 0.0, []
    for name, share, colour in parts:
        wide = share * width
        drawn.append(
            f'<rect x="{at:.1f}" y="0" width="{wide:.1f}" height="22" fill="{colour}">'
            f"<title>{escape(name)}: {share:.0%}</title></rect>"
        )
        if wide > 34:
            drawn.append(
                f'<text x="{at + wide / 2:.1f}" y="15" text-anchor="middle" '
                f'class="s">{share:.0%}</text>'
            )
        at += wide
    label = ", ".join(f"{name} {share:.0%}" for name, share, _ in parts)
    return (
        f'<svg viewBox="0 0 {width:g} 22" role="img" aria-label="{escape(label)}">'
        f"{''.join(drawn)}</svg>"
    )


def round_values(low: float, high: float, about: int) -> list[float]:
    """Return about so many round values between two limits."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in STEPS if step * scale >= raw) * scale
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def around(values: Sequence[Floats], step: float, least: float) -> tuple[float, float]:
    """Return round limits of the finite values, at least `least` apart."""
    finite = np.concatenate([np.ravel(v)[np.isfinite(np.ravel(v))] for v in values])
    if not len(finite):
        return 0.0, least
    low = math.floor(float(finite.min()) / step) * step
    high = math.ceil(float(finite.max()) / step) * step
    return low, max(high, low + least)


def _runs(good: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Return the indices of each run of true values."""
    where = np.flatnonzero(good)
    if not len(where):
        return []
    return np.split(where, np.flatnonzero(np.diff(where) > 1) + 1)
