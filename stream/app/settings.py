"""Settings of a run: flags override the environment, which overrides the configuration file."""

from __future__ import annotations

import logging
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from innpar.stream.beats.alarm import AlarmRule
from innpar.stream.calibration.types import PlannedCuff
from innpar.stream.errors import ConfigError

log: logging.Logger = logging.getLogger(__name__)

PREFIX = "INNPAR_"
TABLES = ("mqtt",)
LISTS = ("device", "cuff", "fault", "subject", "alarm")

_NUMBER = r"\d+(?:\.\d+)?"
_CUFF = re.compile(
    rf"(?:(?P<device>[^=]+)=)?(?P<sbp>{_NUMBER})/(?P<dbp>{_NUMBER})(?:@(?P<at>{_NUMBER}))?"
)


def parse_cuff(text: str | PlannedCuff) -> PlannedCuff:
    """Parse ``[DEVICE=]SBP/DBP[@SECONDS]``, in mmHg and seconds of signal since the start.

    Raises:
        ValueError: Another form, or impossible pressures.
    """
    if isinstance(text, PlannedCuff):
        return text
    match = _CUFF.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not [DEVICE=]SBP/DBP[@SECONDS], such as 128/79")
    at = match["at"]
    return PlannedCuff(
        float(match["sbp"]), float(match["dbp"]), match["device"], float(at) if at else 0.0
    )


def _speed(value: object) -> object:
    return math.inf if value == "max" else value


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *([a-z]*)")


def _seconds(value: object) -> object:
    """Return a duration such as ``90``, ``90s``, ``5m`` or ``1.5h`` in seconds."""
    match = _DURATION.fullmatch(str(value).strip().lower()) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS:
        if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+", value.strip()) is None:
            raise ValueError("must be seconds, or a time such as 5m")
        return value
    return float(match[1]) * _UNITS[match[2]]


def _compute(value: object) -> object:
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(value)) is None:
        raise ValueError("must be auto, cpu, cuda or cuda:N")
    return value


def _backend(value: object) -> object:
    if value is None:
        return None
    if re.fullmatch(r"native|torchscript|eager|aot|onnx|numpy|cuda(:\d+)?", str(value)) is None:
        raise ValueError("must be native, torchscript, eager, aot, onnx, numpy or cuda[:N]")
    return value


def _waveform(value: object) -> object:
    return "on" if value == "json" else value  # its name until 0.2


_TOPIC = Field(pattern=r"^[^/+#\s][^+#\s]*[^/+#\s]$|^[^/+#\s]$")


class Settings(BaseModel):
    """Settings of a run; ``configs/default.toml`` explains each."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    device: list[str] = []
    rate: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    broker: str | None = None
    broker_wait: Literal["retry", "error"] | None = None
    password_file: Path | None = None
    allow_plaintext: bool = False
    embedded_broker_listen: str | None = None
    embedded_broker_passwords: Path | None = None
    node: Annotated[str | None, _TOPIC] = None
    spool_mb: Annotated[float, Field(ge=1, le=100_000)] = 64
    alarm: list[Annotated[AlarmRule, BeforeValidator(AlarmRule.parse)]] = []
    late: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10
    topic: Annotated[str, _TOPIC] = "bp"
    waveform: Annotated[Literal["on", "raw", "off"] | None, BeforeValidator(_waveform)] = None
    beats_on: Literal["both", "estimates", "devices"] = "both"
    home_assistant: Annotated[str | None, _TOPIC] = None
    fhir: bool = False
    model: Path | None = None
    compute: Annotated[str, BeforeValidator(_compute)] = "auto"
    backend: Annotated[str | None, BeforeValidator(_backend)] = None
    cuff: list[Annotated[PlannedCuff, BeforeValidator(parse_cuff)]] = []
    speed: Annotated[float, BeforeValidator(_speed), Field(ge=0.001)] = 1.0
    duration: Annotated[
        float | None, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)
    ] = None
    require_calibration: bool | None = None
    latency: Literal["low", "normal"] | None = None
    early: bool | None = None
    remember: bool = True
    wrist_height: Annotated[float | None, Field(ge=-150, le=150)] = None
    record: str | None = None
    keep_address: bool = False
    subject: list[str] = []
    json_: Annotated[bool, Field(alias="json")] = False
    virtual: bool = False
    wearer: str | None = None
    fault: list[str] = []
    lsl_out: bool = False
    lsl_markers: str | None = None
    view: str | None = None
    metrics: str | None = None
    token_file: Path | None = None
    open_: Annotated[bool, Field(alias="open")] = False
    tui: bool = False
    verbose: bool = False


KEYS = tuple(field.alias or name for name, field in Settings.model_fields.items())


def load(
    flags: Mapping[str, Any], file: Path | None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Merge the three sources and validate the result.

    Args:
        flags: Values from the command line; None for a flag that was not given.
        file: TOML file, if any.
        environment: Environment variables; default: those of the process.

    Raises:
        ConfigError: All errors, one per line, each with the origin of the value.
    """
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, values in (
        (str(file), _read(file) if file else {}),
        ("environment", _environment(os.environ if environment is None else environment)),
        ("flag", {key: value for key, value in flags.items() if value is not None}),
    ):
        for key, value in values.items():
            merged[key] = value
            origin[key] = _origin(source, key)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        lines = [_line(problem, origin) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _origin(source: str, key: str) -> str:
    if source == "environment":
        return f"environment variable {PREFIX}{key.upper()}"
    if source == "flag":
        return f"--{key.replace('_', '-')}"
    return f"{source}: {key}"


def _line(problem: Any, origin: Mapping[str, str]) -> str:
    key = str(problem["loc"][0]) if problem["loc"] else ""
    where = origin.get(key, key)
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown setting; choose from {', '.join(KEYS)}"
    message = problem["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    message = message.replace("Input should be", "must be")
    if problem["type"] == "string_pattern_mismatch":
        message = "must not contain +, # or a space, nor begin or end with /"
    return f"{where}: {message} (given: {problem['input']!r})"


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: not found; `innpar-stream config init {file}` creates it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); check the path") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}; correct this line") from None
    for table in TABLES:  # the heading of a table orders the file; its keys are the same
        if isinstance(values.get(table), dict):
            inside = values.pop(table)
            if double := values.keys() & inside.keys():
                raise ConfigError(f"{file}: {min(double)} is set twice; remove one of them")
            values |= inside
    return values


def _environment(variables: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in variables.items():
        if name.startswith(PREFIX) and text:
            key = name.removeprefix(PREFIX).lower()
            if key not in KEYS:
                log.warning("%s: unknown setting, ignored", name)
                continue
            values[key] = text.split() if key in LISTS else text
    return values
