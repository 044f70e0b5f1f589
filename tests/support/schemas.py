"""Validators of the MQTT messages."""

from __future__ import annotations

import json
from importlib.resources import files

from jsonschema import Draft202012Validator


def schema(name: str) -> Draft202012Validator:
    text = (
        files("innpar.stream.messages")
        .joinpath("schemas", f"{name}.json")
        .read_text(encoding="utf-8")
    )
    document = json.loads(text)
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)
