"""The broker's password: from a file, and hidden from the list of processes."""

from __future__ import annotations

import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path

from innpar.stream.app.settings import Settings
from innpar.stream.errors import ConfigError
from innpar.stream.mqtt.address import Address

_START, _END = 47, 48
"""Fields of ``/proc/self/stat``: where the arguments begin and end in memory; proc(5)."""


_PASSWORD = re.compile(rb"(mqtts?://[^:@/\0]*:)([^\0]*)(?=@)")


def with_credentials(address: Address, settings: Settings) -> Address:
    """Return an address with the password of ``--password-file``.

    Raises:
        ConfigError: The file cannot be read, or the URL has no user.
    """
    address = replace(address, plaintext=address.plaintext or settings.allow_plaintext)
    file = settings.password_file
    if file is None or address.embedded:
        return address
    if address.username is None:
        raise ConfigError("--password-file: name the user too: --broker mqtts://USER@HOST")
    try:
        password, *_ = file.expanduser().read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--password-file: {file} cannot be read ({error})") from None
    return replace(address, password=password.rstrip("\r"))


def hide_passwords() -> None:
    """Overwrite the password of every URL among the process's arguments with ``*``.

    Only Linux lets a process do so; elsewhere, and before this call, ``ps`` shows them: use a
    password file or the environment.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[_START - 2]), int(fields[_END - 2])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            arguments = memory.read(end - begin)
            hidden = _PASSWORD.sub(lambda found: found[1] + b"*" * len(found[2]), arguments)
            if hidden != arguments:
                memory.seek(begin)
                memory.write(hidden)
