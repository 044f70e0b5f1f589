"""The pulse of a session's pictures is the one that the network saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from innpar.devices import NS
from innpar.devices.session.contents import extent
from innpar.devices.session.reader import SessionFile
from innpar.stream.results import Item, Waveform
from innpar.stream.session.excerpt import stretch
from innpar.stream.session.pulse import Conditioning, conditioning_of, pulse, shipped
from support.harness import shipped as shipped_model
from support.sessions import demo, record


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Item]]:
    path = tmp_path_factory.mktemp("session") / "demo.mcap"
    return path, record(path, demo(60, seed=3))


def published(items: list[Item]) -> list[Waveform]:
    return [item for item in items if isinstance(item, Waveform) and item.kind == "ppg"]


def shown(path: Path, begin: float, seconds: float) -> tuple[dict[int, float], Conditioning]:
    """Return the pulse's values by grid index, `begin` seconds into the session."""
    needs = shipped()
    with SessionFile(path) as file:
        first, _ = extent(file, "demo")
        low = first + round(begin * NS)
        found = pulse(stretch(file, "demo", low, low + round(seconds * NS)), demo().polarity, needs)
    indices = np.rint(found.times * needs.rate).astype(np.int64).tolist()
    return dict(zip(indices, found.values.tolist(), strict=True)), needs


def test_it_is_the_pipelines_conditioned_waveform(session: tuple[Path, list[Item]]) -> None:
    path, live = session
    values, needs = shown(path, 0, 15)
    compared = 0
    for wave in published(live):
        first = round(wave.start * needs.rate / NS)
        indices = range(first, first + len(wave.samples))
        if not all(index in values for index in indices):
            continue
        ours = np.array([values[index] for index in indices])
        # Each window was published in units of its own standard deviation.
        scale = float(np.dot(ours, wave.samples) / np.dot(wave.samples, wave.samples))
        assert scale > 0
        np.testing.assert_allclose(ours / scale, wave.samples, atol=1e-4)
        compared += 1
    assert compared >= 10


def test_where_an_excerpt_begins_hardly_matters(session: tuple[Path, list[Item]]) -> None:
    whole, _ = shown(session[0], 0, 30)
    part, _ = shown(session[0], 12.345, 6)
    both = sorted(whole.keys() & part.keys())
    assert len(both) > 700
    a, b = (np.array([values[index] for index in both]) for values in (whole, part))
    assert np.abs(a - b).max() < 0.2 * a.std()
    assert np.corrcoef(a, b)[0, 1] > 0.995


def test_the_filter_is_that_of_the_manifest() -> None:
    manifest = shipped_model().manifest
    assert shipped() == Conditioning.of(manifest)
    assert conditioning_of({"model": {"rate": manifest.rate}}) == shipped()
    slower = conditioning_of({"model": {"rate": 62.5}})
    assert (slower.rate, slower.window, slower.guard) == (62.5, 320, 12)
    assert slower.band == manifest.band


@pytest.mark.parametrize("rate", [None, "125", 0, -1, 1.0, 7.3, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_not_taken(rate: object) -> None:
    assert conditioning_of({"model": {"rate": rate}}) == shipped()
    assert conditioning_of({}) == shipped()


def test_without_samples_there_is_no_pulse(session: tuple[Path, list[Item]]) -> None:
    values, needs = shown(session[0], 500, 5)
    assert values == {}
    with SessionFile(session[0]) as file:
        found = pulse(stretch(file, "another", 0, NS), 0, needs)
    assert (len(found.times), found.channel) == (0, "")
    assert list(found.pieces(0, 1)) == []
