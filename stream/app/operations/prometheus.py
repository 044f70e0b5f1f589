"""The text format of Prometheus, version 0.0.4, and its histograms.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
"""Name of a label → value."""

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 300.0)
"""Upper bounds of a histogram's buckets, s: of a filter's duration up to an outage."""


@dataclass(slots=True)
class Histogram:
    """Counts of values, by bucket, and their sum.

    Attributes:
        bounds: Upper bounds of the buckets, ascending; a last one without a bound follows.
        counts: Values in each bucket.
        total: Sum of the values.
    """

    bounds: tuple[float, ...] = SECONDS
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value; one that is not finite is left out."""
        if math.isfinite(value):
            self.counts[bisect_left(self.bounds, value)] += 1
            self.total += value


class Exposition:
    """Metrics on their way into the text format, in the order in which they are added."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, about: str, *values: tuple[Labels, float | None]) -> None:
        """Add a metric.

        Args:
            name: With its unit; that of a counter ends with ``_total``.
            kind: ``counter`` or ``gauge``.
            about: One line about it.
            values: Labels and value of each sample; None where it is unknown.
        """
        known = [(labels, value) for labels, value in values if value is not None]
        if known:
            self._head(name, kind, about)
            self._lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in known]

    def histogram(self, name: str, about: str, *values: tuple[Labels, Histogram]) -> None:
        """Add histograms, each with its labels."""
        if not values:
            return
        self._head(name, "histogram", about)
        for labels, one in values:
            below = 0
            for bound, count in zip((*one.bounds, math.inf), one.counts, strict=True):
                below += count
                bucket = _labels({**labels, "le": _number(bound)})
                self._lines.append(f"{name}_bucket{bucket} {below}")
            self._lines.append(f"{name}_sum{_labels(labels)} {_number(one.total)}")
            self._lines.append(f"{name}_count{_labels(labels)} {below}")

    def text(self) -> str:
        """Return everything in the text format."""
        return "".join(f"{line}\n" for line in self._lines)

    def _head(self, name: str, kind: str, about: str) -> None:
        self._lines.append(f"# HELP {name} {_escaped(about)}")
        self._lines.append(f"# TYPE {name} {kind}")


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
