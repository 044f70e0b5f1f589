"""A session as FHIR bundles, validated by fhir.resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from innpar.devices import NS, Event
from innpar.stream.results import Beat, Item
from innpar.stream.session.export.fhir import event_observations
from support.exports import exported
from support.harness import estimates


def test_a_fhir_bundle_is_valid_and_says_what_was_published(
    session: tuple[Path, list[Item]], tmp_path: Path
) -> None:
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    path, live = session
    out = exported(path, "fhir", tmp_path / "fhir")
    text = (out / "demo.json").read_text()
    bundle = bundles.Bundle.model_validate_json(text)
    told = [entry.resource for entry in bundle.entry]
    links = {entry.fullUrl for entry in bundle.entry}
    assert len(links) == len(told)
    observations = [one for one in told if one.__class__.__name__ == "Observation"]
    assert all(one.status == "preliminary" for one in observations)
    assert all(one.subject.reference in links for one in observations)
    by: dict[str, list[Any]] = {}
    for one in observations:
        key = one.code.coding[0].code if one.code.coding else one.code.text
        by.setdefault(key, []).append(one)
    valid = [beat for beat in estimates(live) if beat.valid and beat.sbp is not None]
    minutes: dict[int, list[Beat]] = {}
    for beat in valid:
        minutes.setdefault(round(beat.peak / 1e6) // 60_000, []).append(beat)
    ours = [one for one in by["85354-9"] if "estimated" in one.method.text]
    assert len(ours) == len(by["8867-4"]) == len(minutes)
    for one, beats in zip(ours, minutes.values(), strict=True):
        codes = [[c.code for c in part.code.coding] for part in one.component]
        assert codes == [["8480-6", "75997-7"], ["8462-4", "75995-1"], ["8478-0"]]
        quantity = one.component[0].valueQuantity
        assert (quantity.code, quantity.system) == ("mm[Hg]", "http://unitsofmeasure.org")
        middle = np.median([beat.sbp for beat in beats])
        assert abs(float(quantity.value) - middle) <= 0.11
        assert "source: simulated" in one.method.text
    for one in [*ours, *by["8867-4"], *by["Reconstructed arterial pressure waveform"]]:
        assert "estimated by a model, not measured" in one.method.text
        assert [tag.code for tag in one.meta.tag] == ["estimate"]
    assert all(one.meta is None for one in by["85354-9"] if one not in ours)
    waves = [one.valueSampledData for one in by["Reconstructed arterial pressure waveform"]]
    assert {float(wave.period) for wave in waves} == {8.0}
    count = sum(len(wave.data.split()) for wave in waves)
    assert count == sum(len(beat.abp) for beat in estimates(live))


def test_a_remembered_reading_is_of_when_it_was_taken() -> None:
    at = 1_700_000_000 * NS
    detail = {"sbp": 128.0, "dbp": 79.0}
    (now,) = event_observations(Event("x", "cuff", at, at, detail))
    assert now["effectiveDateTime"] == "2023-11-14T22:13:20.000Z"
    detail |= {"remembered": {"age_s": 3600.5}}
    codes = [part["code"]["coding"] for part in now["component"]]
    assert [[one["code"] for one in code] for code in codes] == [["8480-6"], ["8462-4"]]
    (earlier,) = event_observations(Event("x", "cuff", at, at, detail))
    assert earlier["effectiveDateTime"] == "2023-11-14T21:13:19.500Z"
