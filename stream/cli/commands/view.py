"""``innpar-stream view``: the live page of a recording, or of what other processes publish."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innpar.stream.view.board import Board
    from innpar.stream.view.player import Player

EXAMPLES = """\
examples:
  innpar-stream view night.mcap --open                play a recording, with pause, speed and seek
  innpar-stream view 'walk.csv?rate=100'
  innpar-stream view --broker mqtt://ward             show every wearer that others publish there
  innpar-stream view --static page --broker ws://ward:9001    write a page for any web server
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "file", nargs="?", metavar="FILE[?key=value&…]", help="recording to play (default: none)"
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt[s]://[user:password@]host[:port] to show instead (localhost:1883)",
    )
    parser.add_argument("--topic", default="bp", metavar="ROOT", help="first level of topics (bp)")
    parser.add_argument(
        "--view",
        default="",
        metavar="[HOST:]PORT",
        help="address of the page (127.0.0.1:8787); any other host needs the printed token",
    )
    parser.add_argument(
        "--static",
        metavar="DIR",
        help="write the page's files there, for any web server; they show --broker ws[s]://…",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        ConfigError: Both a file and a broker, or an address that cannot be used.
        BrokerError: The broker is unreachable or refuses.
        DeviceError: The recording cannot be played.
    """
    from innpar.stream.errors import ConfigError

    if options.file and options.broker:
        raise ConfigError("view shows a file or a broker: leave one of them out")
    if options.static is not None:
        return _write(options)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options))
    return 0


def _write(options: argparse.Namespace) -> int:
    from pathlib import Path

    from innpar.stream.errors import ConfigError
    from innpar.stream.mqtt.address import check_root
    from innpar.stream.view.static import write_page

    if options.file or options.broker is None:
        raise ConfigError("--static DIR needs the broker that it shows, as --broker ws://HOST:PORT")
    page = write_page(Path(options.static), options.broker, check_root(options.topic))
    print(f"{page}: serve its folder by any web server; its viewers connect to {options.broker}")
    return 0


async def _serve(options: argparse.Namespace) -> None:
    import webbrowser

    from innpar.stream.view.access import PageAddress
    from innpar.stream.view.board import Board
    from innpar.stream.view.server import serving

    board = Board()
    player = await _player(options.file, board) if options.file else None
    if player is not None:
        board.status = player.status
    async with serving(PageAddress.parse(options.view), board, player) as url:
        print(f"live page: {url}\npress Ctrl-C to stop", flush=True)
        if options.open:
            await asyncio.to_thread(webbrowser.open, url)
        if player is not None:
            await player.play()
        else:
            await _follow(options, board)


async def _player(file: str, board: Board) -> Player:
    from innpar.models.predictor import Predictor
    from innpar.stream.pipeline.engine import Engine
    from innpar.stream.view.player import Player

    return Player(file, board, Engine(await asyncio.to_thread(Predictor.load)))


async def _follow(options: argparse.Namespace, board: Board) -> None:
    from innpar.stream.mqtt.address import Address, check_root
    from innpar.stream.view.subscriber import follow

    address = Address("localhost") if options.broker is None else Address.parse(options.broker)
    await follow(address, check_root(options.topic), board)
