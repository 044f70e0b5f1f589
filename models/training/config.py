"""What a training run can be told."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from innpar.models.data.recordings import DataError
from innpar.models.data.sampling import SECTION, Number, Sampling, Share, Size


def _odd(taps: int) -> int:
    if taps % 2 == 0:
        raise ValueError("Input should be odd")
    return taps


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("Input should be auto, cpu, cuda or cuda:N")
    return name


Positive = Annotated[Number, Field(gt=0)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[Whole, Field(ge=1)]


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Arguments of `InnPar`; the context is always `CONTEXT`."""

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    blocks: Annotated[Count, Field(le=64)] = 4
    features: Count = 16
    kernel: Annotated[Count, AfterValidator(_odd)] = 5
    clamp: Positive = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class RunConfig:
    """Length and pace of a run. Times in optimiser steps.

    Attributes:
        level_weight: Weight of the error of each window's highest, lowest and mean pressure beside
            the L1 on both channels.
        average: Decay of the averaged weights.
        edge: Samples at either end outside the loss: zero-padded gradients spoil them.
        cuff_minutes: Time between validation's cuff readings.
        threads: CPU threads of the training step.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    seed: Annotated[Whole, Field(lt=2**63)] = 1
    device: Annotated[str, AfterValidator(_device)] = "auto"
    threads: Annotated[Count, Field(le=1024)] = 1
    steps: Count = 20000
    batch: Count = 64
    learning_rate: Positive = 1.5e-3
    final_share: Share = 0.02
    warm_up: Whole = 300
    weight_decay: Size = 0.01
    clip: Positive = 1.0
    average: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    level_weight: Size = 0.3
    edge: Count = 60
    validate_every: Count = 1000
    save_every: Count = 500
    cuff_minutes: Positive = 30.0
    validate_step: Count = 2


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """What the model that comes out is called.

    Attributes:
        name: Lower case.
        version: Of the model.
        index: If given, the beginning of the `index_digest` of the training and validation records
            that name and version stand for; a model of others is called as one without a name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = "innpar-own"
    version: Annotated[str, Field(min_length=1)] = "1"
    index: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] = ""

    def of_index(self, digest: str) -> ModelConfig:
        """Return what a model of these records is called."""
        return self if digest.startswith(self.index) else ModelConfig()


@dataclasses.dataclass(frozen=True, slots=True)
class IntervalConfig:
    """Of the calibration's tables; the networks do not depend on it.

    Attributes:
        level: Share of an unseen subject's beats that the intervals are to cover.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    level: Annotated[Number, Field(gt=0, lt=1)] = 0.9


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training configuration, one section each."""

    network: NetworkConfig = NetworkConfig()
    run: RunConfig = RunConfig()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    intervals: IntervalConfig = IntervalConfig()
    model: ModelConfig = ModelConfig()

    def plain(self) -> dict[str, Any]:
        """Return everything that decides about the weights."""
        sections = dataclasses.asdict(self)
        del sections["intervals"]
        del sections["model"]
        return sections


def read_config(path: Path) -> TrainConfig:
    """Read a TOML configuration.

    Raises:
        DataError: not TOML, a key that does not exist, or a value that cannot be.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid TOML: {error}") from None
    sections = {
        "network": NetworkConfig,
        "run": RunConfig,
        "sampling": Sampling,
        "intervals": IntervalConfig,
        "model": ModelConfig,
    }
    unknown = set(table) - set(sections)
    if unknown:
        raise DataError(
            f"{path}: no section {sorted(unknown)[0]!r}; there are {', '.join(sections)}"
        )
    made: dict[str, Any] = {}
    for name, kind in sections.items():
        try:
            made[name] = TypeAdapter(kind).validate_python(table.get(name, {}))
        except ValidationError as error:
            raise DataError(f"{path}: {_said(name, kind, error)}") from None
    return TrainConfig(**made)


def _said(section: str, kind: type, error: ValidationError) -> str:
    """Return the first fault as a line."""
    fault = error.errors()[0]
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "unexpected_keyword_argument":
        known = sorted(field.name for field in dataclasses.fields(kind))
        return f"[{section}] has no {key}; it has {', '.join(known)}"
    if not key:
        return f"{section} is {fault['input']!r}, not a section: [{section}]"
    reason = (
        fault["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    )
    return f"[{section}] {key} {reason}, not {fault['input']!r}"
