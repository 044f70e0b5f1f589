"""Errors of a network on a split, compared with two trivial baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from innpar.models.calibration.context import FEATURES, context
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.recordings import Windows
from innpar.models.data.sampling import (
    CENTRE,
    SPREAD,
    Cuffs,
    cuffs_of,
    empty_context,
    raw_buffers,
    window_features,
)
from innpar.models.errors import DataError
from innpar.models.network.folded_training import folded_forward
from innpar.models.network.innpar import InnPar, joint
from innpar.models.training.config import TrainConfig

Floats = npt.NDArray[np.float32]
Waves = Callable[[Floats, Floats], Floats]

PRESSURES = ("sbp", "dbp", "map")


@dataclasses.dataclass(frozen=True, slots=True)
class HeldCuffs:
    """Windows of a split, each with the last cuff reading before it.

    Attributes:
        ppg: (n, window) of unit SD.
        rate: Sampling rate, Hz.
        now: (n, len(FEATURES)) features of the window.
        at_cuff: (n, len(FEATURES)) features at the reading.
        seconds: (n,) time since the reading, s.
        truth: (n, 3) reference SBP, DBP, MAP, mmHg.
        cuff: (n, 3) SBP, DBP, MAP of the reading, mmHg.
        record: (n,) index into `Windows.entries`.
        subject: (n,) index into `Windows.subjects`.
    """

    ppg: Floats
    rate: float
    now: npt.NDArray[np.float64]
    at_cuff: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    cuff: npt.NDArray[np.float64]
    record: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]

    def contexts(self) -> Floats:
        """Return the contexts of the calibrated windows, (n, len(CONTEXT))."""
        return context(self.now, self.at_cuff, self.cuff[:, 0], self.cuff[:, 1], self.seconds)


def held_cuffs(
    windows: Windows, matrix: npt.NDArray[np.float64], every: float, step: int = 1
) -> HeldCuffs:
    """Pair every `step`-th window with the last of the readings taken every `every` seconds.

    A window is paired with a reading strictly before it; the first half minute of a record serves
    only its first reading.

    Args:
        windows: Windows of the split.
        matrix: Conditioning, (buffer, window).
        every: Time between readings, s.
        step: Use every so many-th window.
    """
    narrow = matrix.astype(np.float32)
    found = window_features(windows, narrow)
    cuffs = cuffs_of(windows, found)
    map_ = _trailing_map(windows)
    at, cuff = [], []
    for record in range(len(windows.entries)):
        rows = np.flatnonzero(windows.record == record)
        time = windows.time[rows]
        reading = np.searchsorted(time, np.arange(time[0] + 30.0, time[-1], every))
        last = np.searchsorted(time[reading], time, side="left") - 1
        paired = np.flatnonzero(last >= 0)[::step]
        at.append(rows[paired])
        cuff.append(rows[reading[last[paired]]])
    here, there = np.concatenate(at), np.concatenate(cuff)
    ppg = np.concatenate(
        [
            _scaled(raw_buffers(windows, part, matrix.shape[0]) @ narrow)
            for part in np.array_split(windows.start[here], max(len(here) // 512, 1))
        ]
    )
    return HeldCuffs(
        ppg,
        windows.rate,
        found[here],
        cuffs.features[there],
        (windows.time[here] - windows.time[there]).astype(np.float64),
        np.stack((windows.sbp[here], windows.dbp[here], windows.map_[here]), 1).astype(np.float64),
        np.stack((cuffs.sbp[there], cuffs.dbp[there], map_[there]), 1).astype(np.float64),
        windows.record[here],
        windows.subject[here],
    )


def _scaled(ppg: Floats) -> Floats:
    return np.asarray(ppg / np.maximum(ppg.std(axis=1, keepdims=True), 1e-9))


def _trailing_map(windows: Windows) -> Floats:
    """Return the MAP (n,) of a cuff reading at each window, mmHg."""
    filler = np.zeros((len(windows), 1))
    swapped = dataclasses.replace(windows, sbp=windows.map_)
    both: Cuffs = cuffs_of(swapped, filler)
    return both.sbp


def network_waves(
    forward: Callable[[Tensor, Tensor], Tensor],
    ppg: Floats,
    contexts: Floats,
    device: str = "cpu",
    step: int = 64,
) -> Floats:
    """Return the reconstructed pressures (n, window), mmHg.

    Args:
        forward: Network, (n, 2, window) and context to (n, 2, window).
        ppg: (n, window) of unit SD.
        contexts: (n, len(CONTEXT)).
        device: Torch device of `forward`.
        step: Windows per batch.
    """
    waves = np.empty(ppg.shape, dtype=np.float32)
    with torch.no_grad():
        for k in range(0, len(ppg), step):
            x = joint(torch.from_numpy(ppg[k : k + step]).to(device))
            c = torch.from_numpy(contexts[k : k + step]).to(device)
            waves[k : k + step] = forward(x, c)[:, 0].cpu().numpy() * SPREAD + CENTRE
    return waves


def errors(
    forward: Callable[[Tensor, Tensor], Tensor],
    held: HeldCuffs,
    population: npt.NDArray[np.float64],
    edge: int,
    device: str = "cpu",
) -> dict[str, float]:
    """Return the MAE over all windows, mmHg, under ``STATE_PRESSURE``.

    Args:
        forward: Network, (n, 2, window) and context to (n, 2, window).
        held: Windows with their readings.
        population: (3,) mean SBP, DBP, MAP of the training subjects, mmHg.
        edge: Samples excluded at either end.
        device: Torch device of `forward`.
    """
    rate = held.now[:, FEATURES.index("heart_rate")]
    result: dict[str, float] = {}
    states = {"calibrated": held.contexts(), "uncalibrated": empty_context(len(held.ppg))}
    for state, contexts in states.items():
        waves = network_waves(forward, held.ppg, contexts, device)
        found = wave_pressures(waves[:, edge:-edge].astype(np.float64), rate, held.rate)
        _add_mae(result, state, found - held.truth)
    _add_mae(result, "held", held.cuff - held.truth)
    _add_mae(result, "population", population - held.truth)
    return result


def _add_mae(result: dict[str, float], name: str, error: npt.NDArray[np.float64]) -> None:
    for pressure, value in zip(PRESSURES, np.abs(error).mean(axis=0), strict=True):
        result[f"{name}_{pressure}"] = float(value)


def inversion(model: InnPar, ppg: Floats, contexts: Floats, device: str) -> tuple[float, float]:
    """Return the inverse's error relative to the input's scale, and its gain of small noise."""
    with torch.no_grad():
        x = joint(torch.from_numpy(ppg).to(device))
        c = torch.from_numpy(contexts).to(device)
        y = model(x, c)
        back = model.inverse(y, c)
        noise = 1e-3 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(device)
        gain = (model.inverse(y + noise, c) - back).std() / noise.std()
        return float((back - x).abs().max() / x.abs().max()), float(gain)


class Validation:
    """Validation of a network; each call returns a row of the training log.

    Args:
        config: Configuration.
        windows: Training windows, for the population baseline.
        check: Validation windows.
        matrix: Conditioning, (buffer, window).
        device: Torch device of the networks.

    Raises:
        DataError: No validation record is long enough.
    """

    def __init__(
        self,
        config: TrainConfig,
        windows: Windows,
        check: Windows,
        matrix: npt.NDArray[np.float64],
        device: str,
    ) -> None:
        self._edge, self._device = config.run.edge, device
        self._held = held_cuffs(
            check, matrix, 60.0 * config.run.cuff_minutes, config.run.validate_step
        )
        if not len(self._held.ppg):
            raise DataError(
                "no validation record has windows after the cuff reading in its first half minute; "
                "put longer ones into split val"
            )
        each = np.bincount(windows.subject)
        pressures = np.stack((windows.sbp, windows.dbp, windows.map_), axis=1)
        weight = 1.0 / each[windows.subject] / len(each)
        self._population = weight @ pressures.astype(np.float64)

    def __call__(self, model: InnPar) -> dict[str, float]:
        def forward(x: Tensor, c: Tensor) -> Tensor:
            return folded_forward(model, x, c, edges=False)

        row = errors(forward, self._held, self._population, self._edge, self._device)
        some = slice(None, None, max(len(self._held.ppg) // 64, 1))
        contexts = self._held.contexts()[some]
        error, gain = inversion(model, self._held.ppg[some], contexts, self._device)
        return row | {"inverse_error": error, "inverse_noise_gain": gain}
