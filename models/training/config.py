"""Configuration of a training run: a TOML file with one section per class here."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from innpar.models.data.sampling import SECTION, Number, Sampling, Share, Size
from innpar.models.errors import DataError
from innpar.models.manifest import DROP


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
    """Section ``[network]``: arguments of `InnPar`; the context is always `CONTEXT`."""

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    blocks: Annotated[Count, Field(le=64)] = 4
    features: Count = 16
    kernel: Annotated[Count, AfterValidator(_odd)] = 5
    clamp: Positive = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class RunConfig:
    """Section ``[run]``: length and schedule of a run.

    Attributes:
        seed: Seed of the initial weights and of the batches.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads.
        steps: Optimiser steps.
        batch: Windows per step.
        learning_rate: Highest learning rate of AdamW.
        final_share: Learning rate at the end, as a share of the highest.
        warm_up: Steps of linear warm-up, before a cosine decay.
        weight_decay: Weight decay of AdamW.
        clip: Largest norm of the gradient.
        average: Decay per step of the running mean of the weights.
        level_weight: Weight of the L1 error of each window's highest, lowest and mean pressure,
            relative to the L1 error of both channels.
        edge: Samples excluded from the loss at either end, where zero padding distorts gradients.
        validate_every: Steps between validations.
        save_every: Steps between checkpoints.
        cuff_minutes: Time between the cuff readings of validation, min.
        validate_step: Validate with every so many-th window.
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
    edge: Count = DROP
    validate_every: Count = 1000
    save_every: Count = 500
    cuff_minutes: Positive = 30.0
    validate_step: Count = 2


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """Section ``[model]``: name of the resulting model.

    Attributes:
        name: Name, lower case.
        version: Version.
        index: First digits of the `index_digest` of the training and validation records for which
            name and version are reserved; a model of other records gets the defaults. Empty: any.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = "innpar-own"
    version: Annotated[str, Field(min_length=1)] = "1"
    index: Annotated[str, Field(pattern=r"^[0-9a-f]*$")] = ""

    def of_index(self, digest: str) -> ModelConfig:
        """Return name and version of a model trained on records with this `index_digest`."""
        return self if digest.startswith(self.index) else ModelConfig()


@dataclasses.dataclass(frozen=True, slots=True)
class IntervalConfig:
    """Section ``[intervals]``: prediction intervals; the networks do not depend on it.

    Attributes:
        level: Target coverage: share of an unseen subject's beats within the interval.
    """

    __pydantic_config__: ClassVar[ConfigDict] = SECTION

    level: Annotated[Number, Field(gt=0, lt=1)] = 0.9


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """Training configuration; each attribute is a section of the file."""

    network: NetworkConfig = NetworkConfig()
    run: RunConfig = RunConfig()
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    intervals: IntervalConfig = IntervalConfig()
    model: ModelConfig = ModelConfig()

    def as_dict(self) -> dict[str, Any]:
        """Return the sections that determine the weights."""
        sections = dataclasses.asdict(self)
        del sections["intervals"]
        del sections["model"]
        return sections


def read_config(path: Path) -> TrainConfig:
    """Read a TOML configuration.

    Raises:
        DataError: The file is not TOML, or has an unknown section, key or an invalid value.
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
            f"{path}: unknown section {sorted(unknown)[0]!r}; known are {', '.join(sections)}"
        )
    values: dict[str, Any] = {}
    for name, kind in sections.items():
        try:
            values[name] = TypeAdapter(kind).validate_python(table.get(name, {}))
        except ValidationError as error:
            raise DataError(f"{path}: {_first_fault(name, kind, error)}") from None
    return TrainConfig(**values)


def _first_fault(section: str, kind: type, error: ValidationError) -> str:
    """Return the first fault of a section in one line."""
    fault = error.errors()[0]
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "unexpected_keyword_argument":
        known = sorted(field.name for field in dataclasses.fields(kind))
        return f"[{section}] has no {key}; known are {', '.join(known)}"
    if not key:
        return f"{section} is {fault['input']!r}, not a section: [{section}]"
    reason = (
        fault["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    )
    return f"[{section}] {key} {reason}, not {fault['input']!r}"
