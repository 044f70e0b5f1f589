"""Sessions, calibrations and spools that version 0.1.0 wrote (`tests/from_0_1/README.md`)."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from innpar.devices import NS
from innpar.devices.session.device import open_session
from innpar.models.predictor import Predictor
from innpar.stream.calibration.store import CalibrationStore
from innpar.stream.cli.main import main
from innpar.stream.messages.encoding import iso
from innpar.stream.mqtt.outgoing.outbox import Outbox
from innpar.stream.mqtt.outgoing.spool import Spool
from innpar.stream.results import Item
from support.harness import Keep, estimates, stream_all
from support.paths import ROOT
from support.sessions import MAX

OLD = ROOT / "tests/from_0_1"
SESSIONS = ("demo", "polar-verity")


class KeepUncoded(Keep):
    """A sink that takes notices without a code: version 0.1 gave none."""

    async def send(self, item: Item) -> None:
        self.items.append(item)


def former_model() -> Predictor:
    """Return the shipped model as its manifest was then: its own level without a reading."""
    predictor = Predictor.load()
    tables = {k: v for k, v in predictor.manifest.calibration.items() if k != "uncalibrated"}
    predictor.manifest = dataclasses.replace(predictor.manifest, calibration=tables)
    return predictor


def table(name: str) -> list[dict[str, str]]:
    with (OLD / f"{name}.beats.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize(
    ("name", "options"),
    [("demo", {}), ("polar-verity", {}), ("polar-verity", {"redecode": "on"})],
)
def test_a_session_replays_to_its_beats(name: str, options: dict[str, str]) -> None:
    device = open_session(OLD / f"{name}.mcap", options, pace=MAX)
    beats = estimates(stream_all([device], keep=KeepUncoded(), predictor=former_model())[0])
    rows = table(name)
    assert [(str(b.seq), iso(b.peak), str(b.valid), ",".join(b.reasons)) for b in beats] == [
        (row["seq"], row["time"], row["valid"], row["reasons"]) for row in rows
    ]
    for beat, row in zip(beats, rows, strict=True):
        # 0.2 judges windows and finds feet by other methods; what was recorded is the same.
        assert [beat.sbp, beat.dbp, beat.map_] == [
            pytest.approx(float(row[key]), abs=2.0) for key in ("sbp", "dbp", "map")
        ]


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_read_by_every_command(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(OLD / f"{name}.mcap")
    assert main(["session", "info", path]) == 0
    printed = capsys.readouterr().out
    assert "recorded by innpar-stream 0.1.0" in printed
    assert f"{len(table(name))} beats" in printed
    assert ("2 gaps, 10.29 s in all" if name == "polar-verity" else "no gaps") in printed
    assert main(["session", "verify", path]) == 0
    assert "none missing" in capsys.readouterr().out
    assert main(["session", "export", path, str(tmp_path / "out"), "--format", "csv"]) == 0
    (exported,) = (tmp_path / "out").rglob("*beats*.csv")
    with exported.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == len(table(name))


def test_a_remembered_calibration_is_recalled() -> None:
    device, model = "polar-verity-8a3f", "innpar-0.1.0@sha256:0000"
    stored = json.loads((OLD / f"calibration/{device}.json").read_text(encoding="utf-8"))
    kept, remark = CalibrationStore(OLD).recall(device, model, stored["time"] + 60 * NS)
    assert remark == ""
    assert kept is not None
    assert kept.event(device).detail == {key: stored[key] for key in ("sbp", "dbp", "remembered")}


def test_undelivered_messages_come_out_of_the_spool(tmp_path: Path) -> None:
    shutil.copytree(OLD / "spool", tmp_path / "spool")
    outbox = Outbox(Spool(tmp_path / "spool"))
    parcels = [outbox.take() for _ in range(5)]
    assert outbox.take() is None
    for seq, pending in enumerate(parcels, start=1):
        assert pending is not None
        parcel = pending.parcel
        assert parcel.topics == ("bp/devices/demo/beats", "bp/estimates")
        assert json.loads(parcel.payload) == {"seq": seq}
        assert parcel.headers == (("schema", "bp-beat/1"), ("seq", str(seq)))
        assert parcel.content_type == "application/json"
        assert (parcel.qos, parcel.retain) == (1, seq == 4)
        assert parcel.expiry == (None if seq % 2 else 30)
    outbox.close()
