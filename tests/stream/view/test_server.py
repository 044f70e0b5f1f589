"""Server of the live page: tokens, origins, hosts, and viewers that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from innpar.stream.errors import ConfigError
from innpar.stream.view.access import PageAddress
from innpar.stream.view.board import Board
from innpar.stream.view.files import page_files
from innpar.stream.view.server import serving
from innpar.stream.view.steering import PageCommands

PATHS = ("/", "/live", *(f"/{name}" for name in sorted(page_files())))
ANYWHERE = PageAddress("0.0.0.0", 0, fixed=True)
HERE = PageAddress(port=0, fixed=True)


class Served:
    def __init__(self, url: str, board: Board) -> None:
        self.board = board
        self.port = int(url.split(":")[2].split("/")[0])
        self.token = url.partition("token=")[2]

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a GET request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **headers}
        head = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in lines.items())
        writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        whole = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()
        top, _, body = whole.partition(b"\r\n\r\n")
        first, *rest = top.decode().split("\r\n")
        pairs = (line.partition(": ") for line in rest)
        return int(first.split()[1]), {key.lower(): value for key, _, value in pairs}, body

    def socket(self, **options: object) -> connect:
        origin = f"http://127.0.0.1:{self.port}"
        return connect(f"ws://127.0.0.1:{self.port}/live", **{"origin": origin, **options})  # type: ignore[arg-type]

    @property
    def cookie(self) -> str:
        return f"innpar-{self.port}={self.token}"


@asynccontextmanager
async def served(address: PageAddress = HERE) -> AsyncIterator[Served]:
    board = Board()
    async with serving(address, board, PageCommands()) as url:
        yield Served(url, board)


@pytest.mark.parametrize("path", PATHS)
async def test_another_address_needs_the_token_on_every_path(path: str) -> None:
    async with served(ANYWHERE) as page:
        assert (await page.get(path))[0] == 403
        assert (await page.get(f"{path}?token=wrong"))[0] == 403
        assert (await page.get(f"/ward/7{path}"))[0] == 403


async def test_the_token_moves_into_a_cookie_that_no_script_reads() -> None:
    async with served(ANYWHERE) as page:
        status, headers, body = await page.get(f"/ward/7/?token={page.token}")
        assert status == 303
        assert headers["location"] == "./"
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite=Strict" in headers["set-cookie"]
        for path in PATHS:
            if path != "/live":
                status, headers, body = await page.get(f"/ward/7{path}", Cookie=page.cookie)
                assert status == 200
                assert "default-src 'none'" in headers["content-security-policy"]
                assert page.token.encode() not in body


async def test_a_socket_needs_the_token_and_its_own_origin() -> None:
    async with served(ANYWHERE) as page:
        cookie = {"Cookie": page.cookie}
        for options in (
            {},
            {"additional_headers": {"Cookie": "x=y"}},
            {"origin": "http://evil.example", "additional_headers": cookie},
        ):
            with pytest.raises(InvalidStatus):
                async with page.socket(**options):
                    pytest.fail("it was let in")
        async with page.socket(additional_headers=cookie) as socket:
            assert (await asked(socket))["commands"] is True


async def asked(socket: ClientConnection, **request: object) -> dict[str, object]:
    await socket.send(json.dumps({"epoch": "", "after": 0, **request}))
    answer: dict[str, object] = json.loads(await asyncio.wait_for(socket.recv(), 5))
    return answer


async def test_this_computer_may_look_but_not_command_without_the_token() -> None:
    async with served() as page, page.socket() as socket:
        assert (await asked(socket))["commands"] is False
        await socket.send(json.dumps({"command": "mark", "device": "x", "body": {"text": "y"}}))
        reply = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert reply["ok"] is False
        assert "token" in reply["error"]


async def test_a_foreign_host_name_is_refused_here() -> None:
    async with served() as page:
        assert (await page.get("/", Host="evil.example"))[0] == 403
        assert (await page.get("/", Host=f"localhost:{page.port}"))[0] == 200


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/__init__.py", "/x"])
async def test_nothing_but_the_page_is_served(path: str) -> None:
    async with served() as page:
        assert (await page.get(path))[0] == 404


async def test_nothing_comes_unasked_and_news_come_at_once() -> None:
    async with served() as page, page.socket() as socket:
        first = await asked(socket)
        for n in range(50):
            page.board.take("x", "state", {"state": f"{n}"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.3)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(asked(socket, epoch=first["epoch"], after=50))
        await asyncio.sleep(0.2)
        before = loop.time()
        page.board.take("x", "state", {"state": "online"})
        answer = await waiting
        assert loop.time() - before < 0.1
        assert answer["last"] == 51


@pytest.mark.parametrize("message", ["", "[]", "null", '{"after": -1}', '{"after": "x"}', b"\xff"])
async def test_a_wrong_request_is_answered_like_the_first(message: str | bytes) -> None:
    async with served() as page, page.socket() as socket:
        page.board.take("x", "state", {"state": "online"})
        await socket.send(message)
        assert json.loads(await asyncio.wait_for(socket.recv(), 5))["wearers"]


async def test_a_flood_is_cut_off() -> None:
    async with served() as page, page.socket() as socket:
        await socket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 5)


async def test_twenty_viewers_cost_a_run_nothing_it_waits_for() -> None:
    async with served() as page:
        sockets = [await page.socket().__aenter__() for _ in range(20)]
        for socket in sockets:
            await socket.send('{"epoch": "", "after": 0}')
        await page.board.ready()
        for _ in range(200):
            page.board.take("x", "state", {"state": "online"})
        answers = await asyncio.gather(*(socket.recv() for socket in sockets))
        assert len(answers) == 20
        for socket in sockets:
            await socket.close()


async def test_an_address_in_use_is_an_error_with_a_remedy() -> None:
    async with served() as page:
        with pytest.raises(ConfigError, match="choose another"):
            async with serving(PageAddress(port=page.port, fixed=True), Board(), None):
                pytest.fail("two servers on one port")
        # Without a given port, the next free one is taken.
        async with serving(PageAddress(port=page.port), Board(), None) as url:
            assert f":{page.port}/" not in url
