"""Parser of the command line: its errors are two lines, the error and its remedy."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

COMMAND = "COMMAND"
"""Placeholder of a command's name in the help."""
EXIT = 2
"""Status of a command that cannot start."""


_REQUIRED = "the following arguments are required: "
_UNRECOGNIZED = "unrecognized arguments: "


class CommandParser(argparse.ArgumentParser):
    """Parser of the whole command line or of one command.

    Attributes:
        given: All arguments of the command line.
        outer: Options of the whole command line; empty for that parser itself.
    """

    given: Sequence[str] = ()
    outer: Collection[str] = ()

    @property
    def options(self) -> list[str]:
        """Long options, such as ``--device``."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def error(self, message: str) -> NoReturn:
        """Print the error and its remedy, with those of the given command; exit with `EXIT`."""
        named = _commands(self).keys() & set(self.given)
        if named and not message.startswith(f"{COMMAND}:"):
            command = _commands(self)[min(named, key=list(self.given).index)]
            if isinstance(command, CommandParser) and command.given:
                command.error(message)
        unknown = unknown_option(self.given, {*self.options, *self.outer})
        if unknown is not None:
            text = f"there is no option {unknown}"
            near = nearest(unknown, self.options)
        else:
            text, near = self._in_words(message.removeprefix("argument ")), ""
        print(f"innpar-stream: {text}{near}", file=sys.stderr)
        print(f"innpar-stream: {self._remedy()}", file=sys.stderr)
        raise SystemExit(EXIT)

    def _in_words(self, message: str) -> str:
        """Return an error of argparse in the words of the other messages."""
        option, _, reason = message.partition(": ")
        action = self._option_string_actions.get(option.split("/")[-1])
        if reason.startswith("expected") and action is not None:
            metavar = action.metavar or action.dest.upper()
            shown = " ".join(metavar) if isinstance(metavar, tuple) else metavar
            return f"{option} needs a value: {option.split('/')[-1]} {shown}"
        if found := re.fullmatch(r"ignored explicit argument (.*)", reason):
            return f"{option} takes no value, not {found[1]}"
        if found := re.fullmatch(r"not allowed with argument (.*)", reason):
            return f"{option} cannot be used with {found[1]}: leave one of them out"
        if message.startswith(_REQUIRED):
            missing = message.removeprefix(_REQUIRED).split(", ")
            return f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing"
        if message.startswith(_UNRECOGNIZED):
            return f"{message.removeprefix(_UNRECOGNIZED)} is one argument too many"
        return message

    def _remedy(self) -> str:
        """Return an example, for the given action where there is one, and the command for help."""
        found = re.findall(r"^  (innpar-stream .*)$", self.epilog or "", re.MULTILINE)
        words = {word for word in self.given if not word.startswith("-")}
        prefix = f"{self.prog} "
        fitting = [one for one in found if words & set(one.removeprefix(prefix).split()[:1])]
        last = self.given[-1] if self.given else ""
        if last.startswith("--"):
            fitting = [one for one in found if last in one.split()] or fitting
        example = next(iter([*fitting, *found]), "").split("   ")[0]
        lead = f"for example: {example}; " if example else ""
        return f"{lead}all options: {self.prog} --help"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Check a value against the choices of its argument."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        what = "/".join(action.option_strings) or action.metavar or action.dest
        near = nearest(str(value), choices) or f"; choose from {', '.join(choices)}"
        raise argparse.ArgumentError(None, f"{what}: there is no {value!r}{near}")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Return a value in its type."""
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            if action.type not in (int, float):
                raise
            what = "/".join(action.option_strings) or action.metavar or action.dest
            kind = "a whole number" if action.type is int else "a number"
            text = f"{what}: must be {kind}, not {arg_string!r}"
            raise argparse.ArgumentError(None, text) from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest known word; empty if none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_option(given: Iterable[str], known: Collection[str]) -> str | None:
    """Return the first long option that is not known; None if all are."""
    for word in given:
        name = word.partition("=")[0]
        if word == "--":
            return None
        if name.startswith("--") and not any(option.startswith(name) for option in known):
            return name
    return None


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found
