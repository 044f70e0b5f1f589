"""How far a network is from the truth on a split, beside the two trivial baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from innpar.models.calibration.context import FEATURES, RATE, context
from innpar.models.calibration.wave_pressures import wave_pressures
from innpar.models.data.recordings import DataError, Windows
from innpar.models.data.sampling import (
    CENTRE,
    SPREAD,
    Cuffs,
    cuffs_of,
    empty_context,
    raw_buffers,
    window_features,
)
from innpar.models.network.folded_training import folded_forward
from innpar.models.network.innpar import InnPar, joint
from innpar.models.training.config import TrainConfig

Floats = npt.NDArray[np.float32]
Waves = Callable[[Floats, Floats], Floats]

PRESSURES = ("sbp", "dbp", "map")


@dataclasses.dataclass(frozen=True, slots=True)
class HeldCuffs:
    """The windows of a split, each with the last cuff reading before it (every so often).

    ppg (n, window) of unit SD; `now` and `at_cuff` (n, K) features; `seconds` (n,) since the
    reading; `truth` and `cuff` (n, 3) SBP, DBP, MAP in mmHg; `record`, `subject` (n,) numbers.
    """

    ppg: Floats
    now: npt.NDArray[np.float64]
    at_cuff: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    truth: npt.NDArray[np.float64]
    cuff: npt.NDArray[np.float64]
    record: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]

    def contexts(self) -> Floats:
        """Return the calibrated contexts (n, C)."""
        return context(self.now, self.at_cuff, self.cuff[:, 0], self.cuff[:, 1], self.seconds)


def held_cuffs(
    windows: Windows, matrix: npt.NDArray[np.float64], every: float, step: int = 1
) -> HeldCuffs:
    """Give every `step`-th window the last of the cuff readings taken every `every` seconds.

    The windows at and before a reading are not judged by it; a record's first half minute only
    serves its first reading.
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
        judged = np.flatnonzero(last >= 0)[::step]
        at.append(rows[judged])
        cuff.append(rows[reading[last[judged]]])
    here, there = np.concatenate(at), np.concatenate(cuff)
    ppg = np.concatenate(
        [
            _scaled(raw_buffers(windows, part, matrix.shape[0]) @ narrow)
            for part in np.array_split(windows.start[here], max(len(here) // 512, 1))
        ]
    )
    return HeldCuffs(
        ppg,
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
    """Return the reconstructed pressure (n, window) in mmHg, in batches of `step`."""
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
    """Return MAE in mmHg by state and pressure, subjects weighing by their windows.

    Args:
        forward: Network, (n, 2, window) and context to (n, 2, window).
        held: Windows with their readings.
        population: (3,) mean SBP, DBP, MAP over the training subjects.
        edge: Samples left out at either end.
        device: Where `forward` lives.
    """
    rate = held.now[:, FEATURES.index("heart_rate")]
    result: dict[str, float] = {}
    states = {"calibrated": held.contexts(), "uncalibrated": empty_context(len(held.ppg))}
    for state, told in states.items():
        waves = network_waves(forward, held.ppg, told, device)
        found = wave_pressures(waves[:, edge:-edge].astype(np.float64), rate, RATE)
        _note(result, state, found - held.truth)
    _note(result, "held", held.cuff - held.truth)
    _note(result, "population", population - held.truth)
    return result


def _note(result: dict[str, float], name: str, error: npt.NDArray[np.float64]) -> None:
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
    """Measures weights on the validation windows, as a row of the training log.

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
                "no validation record has windows after its first half minute, in which the cuff "
                "is read; put longer ones into split val"
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
        told = self._held.contexts()[some]
        error, gain = inversion(model, self._held.ppg[some], told, self._device)
        return row | {"inverse_error": error, "inverse_noise_gain": gain}
