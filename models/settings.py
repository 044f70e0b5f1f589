"""What a training run can be told."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from .data import DataError
from .sampling import Sampling


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """Arguments of `InnPar`; the context is always `CONTEXT`."""

    blocks: int = 4
    features: int = 16
    kernel: int = 5
    clamp: float = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """Length and pace of a run. Times in optimiser steps.

    Attributes:
        level_weight: Weight of the error of each window's highest, lowest and mean pressure beside
            the L1 on both channels.
        average: Decay of the averaged weights.
        edge: Samples at either end outside the loss: zero-padded gradients spoil them.
        cuff_minutes: Time between validation's cuff readings.
        threads: CPU threads of the training step.
    """

    seed: int = 1
    device: str = "auto"
    threads: int = 1
    steps: int = 20000
    batch: int = 64
    learning_rate: float = 1.5e-3
    final_share: float = 0.02
    warm_up: int = 300
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    level_weight: float = 0.3
    edge: int = 60
    validate_every: int = 1000
    save_every: int = 500
    cuff_minutes: float = 30.0
    validate_step: int = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Intervals:
    """Of the calibration's tables; the networks do not depend on it.

    Attributes:
        level: Share of an unseen subject's beats that the intervals are to cover.
    """

    level: float = 0.9

    def __post_init__(self) -> None:
        if not (isinstance(self.level, float) and 0.0 < self.level < 1.0):
            raise DataError(f"[intervals] level is a share between 0 and 1, not {self.level!r}")


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training configuration, one section each."""

    network: Network = Network()
    run: Run = Run()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    intervals: Intervals = Intervals()

    def plain(self) -> dict[str, Any]:
        """Return everything that decides about the weights."""
        sections = dataclasses.asdict(self)
        del sections["intervals"]
        return sections


def read_config(path: Path) -> TrainConfig:
    """Read a TOML configuration.

    Raises:
        DataError: not TOML, or a key that does not exist.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: {error}") from None
    sections = {"network": Network, "run": Run, "sampling": Sampling, "intervals": Intervals}
    unknown = set(table) - set(sections)
    if unknown:
        raise DataError(
            f"{path}: no section {sorted(unknown)[0]!r}; there are {', '.join(sections)}"
        )
    made: dict[str, Any] = {}
    for name, kind in sections.items():
        try:
            made[name] = kind(**table.get(name, {}))
        except TypeError:
            known = {field.name for field in dataclasses.fields(kind)}
            extra = ", ".join(sorted(set(table[name]) - known))
            raise DataError(
                f"{path}: [{name}] has no {extra}; it has {', '.join(sorted(known))}"
            ) from None
    return TrainConfig(**made)
