"""Manifest of a model: everything needed to run its network correctly."""

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
SHIPPED: Path = Path(__file__).parent / "weights"
"""Folder of the model that comes with the package."""

Kind = Literal["weights", "torchscript", "aot", "aot_inverse", "onnx", "onnx_inverse"]
SUFFIXES: Mapping[Kind, str] = {
    "weights": ".safetensors",
    "torchscript": ".pt",
    "aot_inverse": ".inverse.pt2",
    "aot": ".pt2",
    "onnx_inverse": ".inverse.onnx",
    "onnx": ".onnx",
}
RELATIVE_IN_0_1 = "relative to an unknown pressure range"
"""Value of ``calibration["output"]`` in manifests of version 0.1 for output without a unit."""

Normalisation = Literal["sd", "zscore"]

# Input of the networks trained by `innpar.models.training`; a loaded manifest states its own.
RATE = 125.0  # Hz
WINDOW = 640  # samples that the network sees
GUARD = 24  # samples before and after the window that only the filter sees
DROP = 60  # samples at either end of a window that are never published
BAND = (0.5, 8.0)  # Hz


@dataclass(frozen=True, slots=True)
class Architecture:
    """Arguments of `InnPar`, with the context given by the names of its entries.

    Attributes:
        blocks: Number of invertible blocks.
        features: Channels after each module's first convolution.
        kernel: Taps of every convolution, odd.
        clamp: Bound of the log scale in each coupling.
        context: Names of the context's entries, from `innpar.models.calibration.context.CONTEXT`.
    """

    blocks: int = 4
    features: int = 16
    kernel: int = 5
    clamp: float = 0.8
    context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Description of one exported model, the content of its ``manifest.json``.

    Attributes:
        name: Name of the model, lower case.
        version: Version of the model.
        architecture: Arguments of the network.
        abp_offset: mmHg; ``abp = output · abp_scale + abp_offset``.
        abp_scale: mmHg per network unit.
        rate: Sampling rate of input and output, Hz.
        window: Samples that the network sees, a multiple of 4.
        guard: Raw samples on either side of the window that only the filter sees.
        hop_multiple: Distance between the starts of two windows, a multiple of this many samples.
        drop: Samples at either end of a window whose reconstruction is not exact.
        band: Pass-band of the conditioning filter, Hz.
        filter: ``whittaker``; see `innpar.stream.windows.conditioning`.
        normalisation: ``sd``: each conditioned window is divided by its SD; ``zscore``: its mean
            is subtracted first.
        files: SHA-256 of every file of the model, by file name.
        training: Provenance: data sources, numbers of subjects and windows, configuration.
        licence: Licence of the weights.
        metrics: Accuracy, with the number of subjects.
        calibration: Use of cuff readings, see `Tables`. Its ``unit``, if present, is the unit of
            the output: ``mmHg``, or None for `relative` output.
        intervals: Tables of the prediction intervals, see `Tables`.
        confidence: 95th percentiles of `Prediction.consistency` and `Prediction.reverse` over good
            windows of unseen subjects.
        verified: Largest deviations measured at export, relative to the output's scale.
        built_for: Processor that each processor-specific file was built for, by file name.
        code_version: Version of the package that exported the model.

    Raises:
        ModelError: A value is out of range.
    """

    name: str
    version: str
    architecture: Architecture
    abp_offset: float
    abp_scale: float
    rate: float = RATE
    window: int = WINDOW
    guard: int = GUARD
    hop_multiple: int = 4
    drop: int = DROP
    band: tuple[float, float] = BAND
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
            raise ModelError(
                f"the manifest of {self.name} is invalid: {wrong[0]}; export the model again"
            )

    @property
    def context_entries(self) -> int:
        """Length of the context vector."""
        return len(self.architecture.context)

    @property
    def relative(self) -> bool:
        """True if the output has no unit until a cuff reading scales it.

        This is so for an imported checkpoint without the pressures of its 0 and 1.
        """
        if "unit" in self.calibration:
            return self.calibration["unit"] is None
        return self.calibration.get("output") == RELATIVE_IN_0_1

    @property
    def id(self) -> str:
        """Name, version and abbreviated hash of the weights, e.g. ``innpar-0.1.0@sha256:1f0c…``."""
        weights = self.file("weights")
        return f"{self.name}-{self.version}@sha256:{self.files[weights][:12] if weights else '-'}"

    def file(self, kind: Kind) -> str | None:
        """Return the name of the file of this kind; None if the model has none."""
        return next((name for name in self.files if kind_of(name) == kind), None)

    def file_for(self, backend: Kind) -> str:
        """Return the name of the file that a backend needs.

        Raises:
            ModelError: The model has none.
        """
        if (name := self.file(backend)) is None:
            raise ModelError(f"{self.id} has no {backend} file; export the model for {backend}")
        return name

    def to_json(self) -> str:
        """Return the content of ``manifest.json``."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, indent=2) + "\n"


def kind_of(name: str) -> Kind | None:
    """Return the kind of a model's file; None for another file."""
    return next((kind for kind, suffix in SUFFIXES.items() if name.endswith(suffix)), None)


def _rules(m: Manifest) -> list[tuple[str, bool]]:
    low, high = m.band
    names = list(m.files)
    context = m.architecture.context
    unknown = [name for name in context if name not in CONTEXT]
    return [
        (f"name {m.name!r}", not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", m.name)),
        (f"rate {m.rate} Hz", not (math.isfinite(m.rate) and m.rate > 0)),
        (f"window {m.window} is not a positive multiple of 4", m.window < 4 or m.window % 4 != 0),
        (f"guard {m.guard}", m.guard < 0),
        (f"hop_multiple {m.hop_multiple}", m.hop_multiple < 4 or m.hop_multiple % 4 != 0),
        (
            f"drop {m.drop} leaves no sample of a window of {m.window}",
            not 0 <= 2 * m.drop < m.window,
        ),
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
        (f"unknown context entry {', '.join(unknown[:3])}", bool(unknown)),
        ("a context entry occurs twice", len(set(context)) < len(context)),
        (
            f"the unit {m.calibration.get('unit')!r} is neither 'mmHg' nor null",
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
            "a file name has other characters than letters, digits, dot, dash and underscore",
            any(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", n) is None for n in names),
        ),
        (
            "a file has no valid SHA-256",
            any(re.fullmatch(r"[0-9a-f]{64}", str(h)) is None for h in m.files.values()),
        ),
        (
            "two files of the same kind",
            any(sum(kind_of(n) == kind for n in names) > 1 for kind in SUFFIXES),
        ),
    ]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file strictly.

    Raises:
        ModelError: The file is missing, not JSON, of another schema or incomplete, has unknown
            keys, or lacks the hash of the weights.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"there is no model at {path}; give a manifest.json or its folder"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} cannot be read as a manifest: {error}") from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else type(raw).__name__
        raise ModelError(
            f"{path} has schema {found!r}, this version reads {SCHEMA!r}; export the model again"
        )
    del raw["schema"]
    try:
        manifest = _manifest(raw)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is not a usable manifest: {error}; export the model again"
        ) from None
    if manifest.file("weights") is None:
        raise ModelError(f"{path} lists no weights with their SHA-256; export the model again")
    return manifest


def _manifest(raw: dict[str, Any]) -> Manifest:
    _check_fields(Manifest, raw)
    inner = raw.get("architecture")
    if not isinstance(inner, dict):
        raise TypeError("architecture is missing")
    _check_fields(Architecture, inner)
    context = tuple(str(name) for name in inner.get("context", ()))
    band = tuple(float(edge) for edge in raw.get("band", BAND))
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


def _check_fields(cls: type, raw: dict[str, Any]) -> None:
    """Raise TypeError if a key is unknown or a value has another type than the field."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(raw.keys() - fields.keys()):
        raise TypeError(f"unknown {', '.join(unknown)}; the manifest is of another version")
    for name, value in raw.items():
        declared = str(fields[name].type)
        expected = (dict,) if declared.startswith("Mapping") else _TYPES.get(declared)
        if expected and (not isinstance(value, expected) or isinstance(value, bool)):
            raise TypeError(f"{name} is {value!r}, expected {declared}")


def verified_bytes(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read a model's file and verify its SHA-256.

    Args:
        folder: Folder of the model.
        manifest: Its manifest.
        name: A key of `Manifest.files`.

    Raises:
        ModelError: The file is missing, or its hash differs from the manifest's.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; get the model again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.files[name]:
        raise ModelError(
            f"{path} does not match its manifest: SHA-256 {found[:12]}…, expected "
            f"{manifest.files[name][:12]}…; get the model again"
        )
    return content
