"""``innpar-stream forget``: delete what is kept of a wearer."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from innpar.state import state_folder
from innpar.stream.app.kept import KeptData
from innpar.stream.errors import ConfigError
from innpar.stream.messages.hygiene import printable
from innpar.stream.mqtt.address import Address, check_root
from innpar.stream.mqtt.connection import connect
from innpar.stream.mqtt.probe import BrokerAway
from innpar.stream.mqtt.retained import clear, retained_of

EXAMPLES = """\
examples:
  innpar-stream forget polar-verity-8a3f1b2c
  innpar-stream forget polar-verity-8a3f1b2c --yes --broker mqtts://innpar@broker.ward.example

Deletes on this computer: the remembered calibration, the sensor's address, recordings begun by
command, and undelivered messages; on the broker: the retained messages. Other recordings, exports
and what subscribers have stored are not known here.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("wearer", metavar="WEARER", help="id of the wearer's device")
    parser.add_argument("--yes", action="store_true", help="delete without a question")
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port] (default: localhost:1883)",
    )
    parser.add_argument(
        "--topic", default="bp", metavar="ROOT", help="first level of every topic (bp)"
    )


def run(options: argparse.Namespace) -> int:
    """List what is kept, ask, delete; 1 if the answer is no or nothing is kept.

    Raises:
        ConfigError: Not an id, the device is online, or there is no terminal to ask at.
        BrokerError: The given broker cannot be reached, or refuses.
        SessionError: A run uses the spool now.
    """
    wearer, root = options.wearer, check_root(options.topic)
    if not wearer or any(c in "/+#*" or not c.isprintable() for c in wearer):
        raise ConfigError(f"{printable(wearer)!r} is not the id of a device; see `watch`")
    kept = KeptData.find(wearer, state_folder())
    try:
        topics = asyncio.run(_on_broker(_address(options), wearer, root))
    except BrokerAway as error:
        if options.broker is not None:
            raise
        topics = []
        print(f"{error}; retained messages stay: name the broker with --broker", file=sys.stderr)
    lines = [*kept.lines(), *(f"{topic}: retained on the broker" for topic in topics)]
    if not lines:
        print(f"nothing is kept of {wearer}")
        return 1
    print("\n".join(lines))
    if not (options.yes or _confirmed(wearer)):
        print("nothing was deleted", file=sys.stderr)
        return 1
    kept.remove()
    if topics:
        asyncio.run(_clear(_address(options), wearer, root))
    print(f"deleted all of the above of {wearer}")
    return 0


def _address(options: argparse.Namespace) -> Address:
    address = Address("localhost") if options.broker is None else Address.parse(options.broker)
    address.check_password()
    return address


def _confirmed(wearer: str) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("no terminal to ask at: add --yes to delete all of the above")
    print(f"Delete all of this of {wearer}? It cannot be undone. [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _on_broker(address: Address, wearer: str, root: str) -> Sequence[str]:
    """Return the topics with retained messages of the wearer.

    Raises:
        ConfigError: The wearer is online.
    """
    async with connect(address) as link:
        found = await retained_of(link, wearer, root)
    if found.get(f"{root}/devices/{wearer}/state") in (b"online", b"stale"):
        raise ConfigError(f"{wearer} is online at {address}: end its run first")
    return sorted(found)


async def _clear(address: Address, wearer: str, root: str) -> None:
    async with connect(address) as link:
        found = await retained_of(link, wearer, root)
        if found:
            await clear(link, sorted(found))
