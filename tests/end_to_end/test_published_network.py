"""A published network, which takes no context, streamed, calibrated and evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from innpar.devices import NS, Event
from innpar.devices.simulated.device import Simulated
from innpar.devices.timing.pace import Pace
from innpar.models.errors import ModelError
from innpar.models.formats.checkpoint_import import import_checkpoint
from innpar.models.formats.export import export
from innpar.models.manifest import Architecture, Manifest
from innpar.models.predictor import Predictor
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.cli.main import main
from innpar.stream.evaluation.evaluate import evaluate
from innpar.stream.pipeline.wearer import Wearer
from innpar.stream.results import Beat, Item, Waveform
from support.harness import estimates, stream_all
from support.networks import golden_state, network
from support.training_data import write_index, write_record

Make = Callable[[tuple[float, float]], Path]
RELATIVE, MMHG = (0.0, 1.0), (40.0, 200.0)
PLAIN: dict[str, Any] = {
    "name": "x",
    "version": "1",
    "architecture": Architecture(),
    "abp_offset": 0.0,
    "abp_scale": 1.0,
}


@pytest.fixture(params=["golden", "made"])
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Build a model of the published network, or of one of its shape."""

    def make(pressures: tuple[float, float]) -> Path:
        out = tmp_path / "model"
        if request.param == "golden":
            torch.save(golden_state(), tmp_path / "net.pth")
            import_checkpoint(tmp_path / "net.pth", out, pressures=pressures)
            return out
        low, high = pressures
        known = pressures != RELATIVE
        fields = {
            "name": "made",
            "version": "1",
            "abp_offset": low,
            "abp_scale": high - low,
            "window": 628,
            "normalisation": "zscore",
            "calibration": {"unit": "mmHg" if known else None},
        }
        export(network(4), out, fields)
        return out

    return make


def streamed(model: Path, *cuffs: PlannedCuff, seconds: float = 75.0) -> tuple[list[Item], Wearer]:
    start = 1_700_000_000 * NS
    demo = Simulated(
        pace=Pace(math.inf, 2.0),
        start=start,
        duration=seconds,
        cuff=False,
        motion=False,
        dropouts=False,
    )
    items, (wearer,), _ = stream_all([demo], cuffs=cuffs, predictor=Predictor.load(model))
    return items, wearer


def pressures(beats: list[Beat]) -> tuple[float, float]:
    sbp, dbp = (np.median([getattr(beat, name) for beat in beats]) for name in ("sbp", "dbp"))
    return float(sbp), float(dbp)


@pytest.mark.parametrize("told", [RELATIVE, MMHG])
def test_a_reading_scales_what_the_network_makes(imported: Make, told: tuple[float, float]) -> None:
    items, wearer = streamed(imported(told), PlannedCuff(128, 79, seconds=30.0))
    beats = estimates(items)
    after = [beat for beat in beats if beat.calibration.state == "ok"]
    assert len(after) > 30
    valid = [beat for beat in after if beat.valid]
    assert len(valid) > 0.9 * len(after)
    assert pressures(valid) == pytest.approx((128.0, 79.0), abs=5.0)
    assert all(beat.interval is None for beat in valid)
    assert wearer.in_force is not None
    assert wearer.in_force.remembered is not None
    assert wearer.in_force.remembered.calibration.level is not None
    before = [beat for beat in beats if beat.calibration.state == "none"]
    assert len(before) > 10
    waves = [i for i in items if isinstance(i, Waveform) and i.kind == "abp"]
    assert not any(beat.valid for beat in before)
    if told == RELATIVE:
        assert {beat.reasons for beat in before} == {("uncalibrated",)}
        assert {beat.hr is None for beat in before} == {False}
        assert min(float(wave.samples.max()) for wave in waves) > 50
    else:  # a random network in mmHg: said to be implausible, and shown
        assert {beat.reasons for beat in before} == {("implausible",)}
        assert len(waves) > len(before) / 2


def test_a_second_reading_is_followed_and_checked_against(imported: Make) -> None:
    model = imported(RELATIVE)
    cuffs = PlannedCuff(128, 79, seconds=30.0), PlannedCuff(110, 60, seconds=55.0)
    items, _ = streamed(model, *cuffs, seconds=90.0)
    second = [beat for beat in estimates(items) if beat.calibration.sbp == 110]
    assert pressures([beat for beat in second if beat.valid]) == pytest.approx((110, 60), abs=5)
    told = [item for item in items if isinstance(item, Event) and item.kind == "cuff"]
    assert told[1].detail["check"]["sbp"] == pytest.approx(18.0, abs=5.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vitaldb_made").mkdir()
    write_record(tmp_path, "vitaldb_made/one.npz", 125.0, seconds=150)
    write_index(tmp_path, [("vitaldb_made/one.npz", "a", "val", 125.0)])
    return tmp_path


def test_it_is_evaluated_beside_the_held_reading(
    imported: Make, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = imported(RELATIVE)
    group = evaluate(folder, split="val", model=model, cuff_minutes=1.0)["vitaldb"]
    assert group["beats"] > 30
    assert set(group["per_beat"]) == {"model", "held", "kriging"}
    assert group["per_beat"]["model"]["sbp"]["mae"] < 10.0
    assert "intervals" not in group
    assert "no population baseline" in capsys.readouterr().err
    never = ["evaluate", "--data", str(folder), "--split", "val", "--cuff-every", "never"]
    assert main([*never, "--model", str(model)]) == 2
    told = capsys.readouterr().err
    assert "gives no pressures without a cuff reading; use --cuff-every once" in told
    assert "streaming" not in told


def test_an_import_says_what_its_outputs_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(golden_state(), tmp_path / "net.pth")
    command = ["model", "import", str(tmp_path / "net.pth"), str(tmp_path / "out")]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "the outputs of this model have no unit" in told
    assert "--abp-range MIN MAX" in told
    assert "innpar-stream calibrate 128/79" in told
    stated = Predictor.load(tmp_path / "out").manifest
    assert stated.relative
    assert stated.calibration["unit"] is None
    assert main([*command, "--abp-range", "40", "200"]) == 0
    assert "no unit" not in capsys.readouterr().out
    assert not Predictor.load(tmp_path / "out").manifest.relative


@pytest.mark.parametrize(
    ("calibration", "relative"),
    [
        ({"output": "relative to an unknown pressure range"}, True),  # by version 0.1
        ({"output": "mmHg"}, False),
        ({}, False),
        ({"unit": None}, True),
        ({"unit": "mmHg", "output": "relative to an unknown pressure range"}, False),
        ({"output": "relatively sure"}, False),
    ],
)
def test_whether_outputs_have_a_unit(calibration: dict[str, str | None], relative: bool) -> None:
    manifest = Manifest(**PLAIN, calibration=calibration)
    assert manifest.relative == relative


def test_a_unit_that_is_none() -> None:
    with pytest.raises(ModelError, match="the unit 'kPa' is neither 'mmHg' nor null"):
        Manifest(**PLAIN, calibration={"unit": "kPa"})
