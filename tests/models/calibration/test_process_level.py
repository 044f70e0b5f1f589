"""The level to publish, and its table in a manifest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from innpar.models.calibration.process import INPUTS
from innpar.models.calibration.process_level import ProcessTable
from support.processes import PRIOR


def test_sizes_survive_the_manifest() -> None:
    table = {
        "inputs": list(INPUTS),
        "share": 0.5,
        "widen": {"sbp": 1.6, "dbp": 1.5, "map": 1.7},
        "sizes": PRIOR.table(),
    }
    found = ProcessTable.of(table)
    np.testing.assert_allclose(found.prior.line, PRIOR.line, atol=1e-4)
    assert found.widen.tolist() == [1.6, 1.5, 1.7]
    for name, wrong in {
        "inputs": ["age"],
        "share": 1.5,
        "widen": {"sbp": 0.0, "dbp": 1.0, "map": 1.0},
        "sizes": {**PRIOR.table(), "noise": 0.0},
    }.items():
        with pytest.raises(ValueError, match=r"process|interval"):
            ProcessTable.of({**table, name: wrong})


def test_the_published_level_lies_between_correction_and_process() -> None:
    table = ProcessTable(PRIOR, 0.5, np.ones(3))
    found, process = np.array([[120.0, 70.0, 90.0]]), np.array([[140.0, 80.0, 99.0]])
    np.testing.assert_allclose(table.level(found, process), [[130.0, 75.0, 97.0]])
    none = dataclasses.replace(table, share=0.0)
    np.testing.assert_allclose(none.level(found, process), found)
