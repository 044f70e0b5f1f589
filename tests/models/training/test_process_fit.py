"""The process in training is the one in use."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from innpar.models.calibration.process import PastReading, WearerProcess
from innpar.models.training.process_fit import ARTERIAL, _Episodes, _predicted
from support.processes import PRIOR, K


def test_training_predicts_as_live_does_and_padding_does_not_count() -> None:
    rng = np.random.default_rng(0)
    x, later = rng.normal(size=(1, 5, K)), rng.normal(size=(1, 7, K))
    hours, later_hours = rng.uniform(0, 3, (1, 5)), rng.uniform(3, 5, (1, 7))
    reading = np.array([120.0, 70.0, 88.0]) + rng.normal(0, 9, (1, 5, 3))
    padding = np.array([[0.0, 0.0, 0.0, 1.0, 1.0]])
    parts = (x, hours, reading, padding, later, later_hours, np.zeros((1, 7, 3)))
    sizes = {
        field.name: torch.from_numpy(np.asarray(getattr(PRIOR, field.name)))
        for field in dataclasses.fields(PRIOR)
        if field.name != "noise"
    }
    mean, sd = _predicted(sizes, _Episodes(*(torch.from_numpy(part) for part in parts)))
    past = [PastReading(3600 * hours[0, k], reading[0, k], x[0, k], ARTERIAL) for k in range(3)]
    live, spread = WearerProcess(PRIOR, past).at(later[0], 3600 * later_hours[0])
    np.testing.assert_allclose(mean[:, 0].T, live, atol=0.02)
    np.testing.assert_allclose(sd[:, 0].T, spread, atol=0.02)
