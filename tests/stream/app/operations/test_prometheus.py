"""The text format: everything that is written is read again, by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innpar.stream.app.operations.prometheus import Exposition, Histogram

parser = pytest.importorskip("prometheus_client.parser", reason="needs scripts/setup dev")
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
NUMBER = st.floats(allow_nan=False) | st.integers(-(10**9), 10**9)


@given(TEXT, st.lists(st.tuples(TEXT, NUMBER), max_size=4, unique_by=lambda pair: pair[0]))
def test_labels_and_values_are_read_again(about: str, values: list[tuple[str, float]]) -> None:
    out = Exposition()
    out.add("a_total", "counter", about, *(({"device": text}, value) for text, value in values))
    families = list(parser.text_string_to_metric_families(out.text()))
    found = [(one.labels["device"], one.value) for family in families for one in family.samples]
    assert found == values


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_a_histogram_counts_every_value_at_or_below_its_bound(values: list[float]) -> None:
    histogram, out = Histogram(), Exposition()
    for value in values:
        histogram.add(value)
    out.histogram("delay_seconds", "Delay", ({"stage": "hop"}, histogram))
    (family,) = parser.text_string_to_metric_families(out.text())
    assert family.type == "histogram"
    for one in family.samples:
        if one.name.endswith("_bucket"):
            assert one.value == sum(value <= float(one.labels["le"]) for value in values)
        elif one.name.endswith("_count"):
            assert one.value == len(values)
        else:
            assert one.value == pytest.approx(math.fsum(values))


def test_a_value_that_is_not_finite_is_not_counted() -> None:
    histogram = Histogram()
    histogram.add(math.nan)
    histogram.add(math.inf)
    assert sum(histogram.counts) == 0
    assert histogram.total == 0


def test_what_is_unknown_is_left_out() -> None:
    out = Exposition()
    out.add("a", "gauge", "A", ({"device": "demo"}, None))
    assert out.text() == ""
