"""What travels with a model file: everything that using it right depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from innpar.models.calibration.context import CONTEXT
from innpar.models.errors import ModelError

SCHEMA = "innpar-model/1"
NAME = "manifest.json"

Kind = Literal["weights", "torchscript", "aot", "onnx"]
SUFFIXES: Mapping[Kind, str] = {
    "weights": ".safetensors",
    "torchscript": ".pt",
    "aot": ".pt2",
    "onnx": ".onnx",
}
RELATIVE_IN_0_1 = "relative to an unknown pressure range"
"""``calibration["output"]`` of a model without a unit, as version 0.1 wrote it."""

Normalisation = Literal["sd", "zscore"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Arguments of `InnPar`, the context by the names of its entries."""

    blocks: int = 4
    features: int = 16
    kernel: int = 5
    clamp: float = 0.8
    context: tuple[str, ...] = ()  # of `innpar.models.calibration.context.CONTEXT`


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Of one exported model.

    Attributes:
        name: Of the model, lower case.
        version: Of the model.
        architecture: Of the network.
        abp_offset: mmHg; ``abp = output · abp_scale + abp_offset``.
        abp_scale: mmHg a network unit.
        rate: Hz.
        window: Samples the network sees, a multiple of 4.
        guard: Raw samples on either side of the window that only the filter sees.
        hop_multiple: Windows start a multiple of this apart.
        drop: Samples at either end of a window whose reconstruction is not exact.
        band: Pass-band of the conditioning, Hz.
        filter: ``whittaker``: see `stream.filter`.
        normalisation: ``sd``: each conditioned window over its own SD; ``zscore``: minus its mean
            first.
        files: SHA-256 of every file beside the manifest, by name.
        training: Where the data came from, how many subjects and windows, how it was trained.
        licence: Of the weights.
        metrics: Accuracy, with the number of subjects.
        calibration: How cuff readings are used; its ``unit``, where it is there, is that of the
            output: ``mmHg``, or None for `relative`.
        intervals: Tables behind the intervals.
        confidence: Values of `Prediction.consistency` and `.reverse` that 95 % of good windows of
            unseen subjects stay below.
        verified: Largest deviations measured at export, relative to the output's scale.
        built_for: What processor-specific files were built for, by name.
        code_version: Of the package that exported it.
    """

    name: str
    version: str
    architecture: Architecture
    abp_offset: float
    abp_scale: float
    rate: float = 125.0
    window: int = 640
    guard: int = 24
    hop_multiple: int = 4
    drop: int = 60
    band: tuple[float, float] = (0.5, 8.0)
    filter: str = "whittaker"
    normalisation: Normalisation = "sd"
    files: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, Any] = field(default_factory=dict)
    confidence: Mapping[str, float] = field(default_factory=dict)
    verified: Mapping[str, float] = field(default_factory=dict)
    built_for: Mapping[str, str] = field(default_factory=dict)
    code_version: str = ""

    def __post_init__(self) -> None:
        wrong = [text for text, fails in _rules(self) if fails]
        if wrong:
            raise ModelError(f"the manifest of {self.name} is wrong: {wrong[0]}")

    @property
    def context_entries(self) -> int:
        """Length of the context vector."""
        return len(self.architecture.context)

    @property
    def relative(self) -> bool:
        """Whether the output has no unit: a checkpoint that does not tell which pressures its 0
        and 1 stand for. A cuff reading gives it one."""
        if "unit" in self.calibration:
            return self.calibration["unit"] is None
        return self.calibration.get("output") == RELATIVE_IN_0_1

    @property
    def id(self) -> str:
        """Name, version and weights' hash in short, e.g. ``innpar-0.1.0@sha256:1f0c…``."""
        weights = self.file("weights")
        return f"{self.name}-{self.version}@sha256:{self.files[weights][:12] if weights else '-'}"

    def file(self, kind: Kind) -> str | None:
        """Name of the file of this kind, None without one."""
        return next((name for name in self.files if name.endswith(SUFFIXES[kind])), None)

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=2) + "\n"


def _rules(m: Manifest) -> list[tuple[str, bool]]:
    low, high = m.band
    names = list(m.files)
    told = m.architecture.context
    unknown = [name for name in told if name not in CONTEXT]
    return [
        (f"name {m.name!r}", not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", m.name)),
        (f"rate {m.rate} Hz", not (math.isfinite(m.rate) and m.rate > 0)),
        (f"window {m.window} is no positive multiple of 4", m.window < 4 or m.window % 4 != 0),
        (f"guard {m.guard}", m.guard < 0),
        (f"hop_multiple {m.hop_multiple}", m.hop_multiple < 4 or m.hop_multiple % 4 != 0),
        (f"drop {m.drop} leaves nothing of {m.window}", not 0 <= 2 * m.drop < m.window),
        (f"band {low} to {high} Hz", not 0 < low < high < m.rate / 2),
        (f"filter {m.filter!r} is unknown", m.filter != "whittaker"),
        (
            f"normalisation {m.normalisation!r} is unknown",
            m.normalisation not in get_args(Normalisation),
        ),
        (
            "the pressure scale",
            not (math.isfinite(m.abp_offset) and math.isfinite(m.abp_scale) and m.abp_scale > 0),
        ),
        (f"this version knows no context {', '.join(unknown[:3])}", bool(unknown)),
        ("a context is named twice", len(set(told)) < len(told)),
        (
            f"the unit {m.calibration.get('unit')!r} is none of 'mmHg' and null",
            m.calibration.get("unit") not in (None, "mmHg"),
        ),
        (
            "a confidence limit",
            not m.confidence.keys() <= {"consistency", "reverse"}
            or not all(
                isinstance(v, float | int) and 0 < v < math.inf for v in m.confidence.values()
            ),
        ),
        (
            "a file name is not plain",
            any(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", n) is None for n in names),
        ),
        (
            "a file has no SHA-256",
            any(re.fullmatch(r"[0-9a-f]{64}", str(h)) is None for h in m.files.values()),
        ),
        (
            "two files of a kind",
            any(sum(n.endswith(s) for n in names) > 1 for s in SUFFIXES.values()),
        ),
    ]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file strictly.

    Raises:
        ModelError: It is missing, not JSON, of another schema, incomplete, has unknown keys, or
            names no weights with their hash.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"there is no model at {path}; name a manifest.json or its folder"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as a manifest: {error}") from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise ModelError(f"{path} has schema {found!r}, this version reads {SCHEMA!r}")
    del raw["schema"]
    try:
        manifest = _manifest(raw)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a usable manifest: {error}") from None
    if manifest.file("weights") is None:
        raise ModelError(f"{path} names no weights with their SHA-256; export the model again")
    return manifest


def _manifest(raw: dict[str, Any]) -> Manifest:
    _known(Manifest, raw)
    inner = raw.get("architecture")
    if not isinstance(inner, dict):
        raise TypeError("architecture is missing")
    _known(Architecture, inner)
    context = tuple(str(name) for name in inner.get("context", ()))
    band = tuple(float(edge) for edge in raw.get("band", (0.5, 8.0)))
    if len(band) != 2:
        raise ValueError("band is not two numbers")
    architecture = Architecture(**{**inner, "context": context})
    return Manifest(**{**raw, "architecture": architecture, "band": band})


_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "Normalisation": (str,),
}


def _known(cls: type, raw: dict[str, Any]) -> None:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(raw.keys() - fields.keys()):
        raise TypeError(f"unknown {', '.join(unknown)}; it was written by another version")
    for name, value in raw.items():
        declared = str(fields[name].type)
        expected = (dict,) if declared.startswith("Mapping") else _TYPES.get(declared)
        if expected and (not isinstance(value, expected) or isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r}, expected {declared}")


def verified_bytes(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Return a file's content, having checked that it is the one the manifest names.

    Raises:
        ModelError: It is missing, or its hash differs.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; get the model again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.files[name]:
        raise ModelError(
            f"{path} is not the file its manifest names: SHA-256 {found[:12]}…, expected "
            f"{manifest.files[name][:12]}…; get the model again"
        )
    return content
