"""The speed table: what it counts, and the ratios it promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from innpar.models import InnPar, ModelError, Predictor
from innpar.models.calibration.context import CONTEXT
from innpar.models.formats.export import export
from innpar.stream.evaluation import bench
from support.networks import network

FIELDS = {"name": "test", "version": "1", "abp_offset": 90.0, "abp_scale": 25.0}


@pytest.fixture
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield None
    torch.set_num_threads(before)


def test_multiplications_are_counted_as_published() -> None:
    assert bench.published_products(InnPar(), 628) == pytest.approx(78.38e6, rel=1e-3)
    assert bench.folded_products(InnPar(), 628) < bench.published_products(InnPar(), 628) / 11


def test_every_variant_has_a_row_a_batch(tmp_path: Path, one_thread: object) -> None:
    model = network(1, 4, context=2)
    export(model, tmp_path, FIELDS, context=CONTEXT[:2])
    predictor = Predictor.load(tmp_path)
    rows, peak = bench.measure(model, predictor, None, batches=(1, 3), rounds=2, turn_s=0.001)
    names = [row.name for row in rows]
    assert names[:4] == names[4:]
    assert len(rows) == 8
    assert peak > 1e8
    for row in rows:
        assert row.windows > 0
        assert 0 < row.share < 1
        assert (row.ratio == 1) == (row.name == bench.EAGER)


@pytest.mark.slow
def test_the_folded_script_is_four_and_a_half_times_as_fast(
    tmp_path: Path, one_thread: object
) -> None:
    model = network(4)
    export(model, tmp_path, FIELDS)
    rows, _ = bench.measure(model, Predictor.load(tmp_path), None, rounds=9)
    ratios = {row.batch: row.ratio for row in rows if row.name == "folded, TorchScript"}
    assert set(ratios) == {1, 16}
    assert min(ratios.values()) >= 4.5


def test_the_table_is_printed(
    tmp_path: Path,
    one_thread: object,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export(network(1, 4), tmp_path, FIELDS)
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    monkeypatch.setattr(bench, "ROUNDS", 2)
    assert bench.bench_model(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "AOTInductor is omitted" in printed
    assert "GFLOP/s" in printed
    assert printed.count("folded, TorchScript") == 2
    with pytest.raises(ModelError, match="there is no model"):
        bench.bench_model(tmp_path / "nowhere")
