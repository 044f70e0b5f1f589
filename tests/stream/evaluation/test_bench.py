"""The speed table: what it counts, and the ratios it promises."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from innpar.models import ModelError, Predictor
from innpar.models.formats.weights_file import open_model, read_weights
from innpar.models.manifest import Architecture
from innpar.models.network.folding import fold_weights
from innpar.models.predictor import SHIPPED
from innpar.stream.evaluation import bench

TORCH = importlib.util.find_spec("torch") is not None


def test_multiplications_are_counted_as_published() -> None:
    folder, manifest = open_model(SHIPPED)
    folded = fold_weights(read_weights(folder, manifest), manifest.architecture.clamp)
    published = bench.published_products(Architecture(), 628)
    assert published == pytest.approx(78.38e6, rel=1e-3)
    assert bench.folded_products(folded, 628) < published / 11


@pytest.mark.slow
def test_a_backend_has_a_row_a_batch() -> None:
    predictor = Predictor.load(backend="numpy")
    rows = list(bench.measure(SHIPPED, predictor, batches=(1, 3), rounds=2, with_published=True))
    own = [row for row in rows if row.name == predictor.runs_on]
    assert [row.batch for row in own] == [1, 3]
    assert len(rows) == (4 if TORCH else 2)
    for row in rows:
        assert 0 < row.forward.median <= row.forward.worst
        assert row.forward.cpu > 0
        assert 0 < row.share < 1.5
    for row in own:
        assert row.both is not None
        assert row.both.cpu > row.forward.cpu
        assert np.isfinite(row.ratio) == TORCH


@pytest.mark.slow
@pytest.mark.skipif(not TORCH, reason="torch is not installed: scripts/test --torch")
def test_the_kernel_is_many_times_as_fast_as_published() -> None:
    predictor = Predictor.load(backend="native")
    rows = bench.measure(SHIPPED, predictor, batches=(1, 16), rounds=9)
    ratios = {row.batch: row.ratio for row in rows}
    assert ratios[1] >= 10
    assert ratios[16] >= 6


def test_the_table_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "NAMES", ("numpy", "onnx"))
    assert bench.bench_model(SHIPPED, batches=(1,)) == 0
    printed = capsys.readouterr().out
    assert "\nnumpy " in printed
    assert "\nonnx: " in printed
    assert "export the model for onnx" in printed
    with pytest.raises(ModelError, match="there is no model"):
        bench.bench_model(tmp_path / "nowhere")
