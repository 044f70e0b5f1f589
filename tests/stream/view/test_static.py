"""A page by itself: written files, and what it shows of a mosquitto with WebSockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from innpar.stream.errors import ConfigError
from innpar.stream.view.files import page_files
from innpar.stream.view.static import write_page
from support.brokers import Mosquitto, free_port
from support.browsers import chromium, need_chromium
from support.programs import program


@pytest.mark.parametrize(
    "broker",
    [
        "mqtt://ward", "ws://", "ws://user:secret@ward", "ws://ward\"><script>",
        "ws://ward;img-src *",
        "ws://ward:9001/?token=x", "http://ward", "ws://ward 'self'",
    ],
)  # fmt: skip
def test_another_address_is_refused(tmp_path: Path, broker: str) -> None:
    with pytest.raises(ConfigError, match="WebSocket without a password"):
        write_page(tmp_path / "page", broker, "bp")
    assert not (tmp_path / "page").exists()


def test_every_file_is_written_and_the_policy_allows_the_broker_only(tmp_path: Path) -> None:
    page = write_page(tmp_path / "a/b", "wss://ward.local:9001/mqtt", "bp").read_text()
    assert {path.name for path in (tmp_path / "a/b").iterdir()} == set(page_files())
    assert "connect-src wss://ward.local:9001;" in page
    assert 'name="innpar-broker" content="wss://ward.local:9001/mqtt"' in page
    with pytest.raises(ConfigError, match="choose another folder"):
        write_page(tmp_path / "a/b/index.html", "ws://ward", "bp")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
async def test_it_shows_what_a_run_publishes(tmp_path: Path) -> None:
    need_chromium()
    port = free_port()
    lines = ("allow_anonymous true", f"listener {port} 127.0.0.1", "protocol websockets")
    broker = Mosquitto(tmp_path, (*lines, "socket_domain ipv4"))
    broker.start()
    write_page(tmp_path / "page", f"ws://127.0.0.1:{port}", "bp")
    run = ("--device", "demo?cuff=off&motion=off&dropouts=off", "--no-remember")
    try:
        with web_server(tmp_path / "page") as url:
            async with program(*run, "--broker", broker.url) as output, chromium(url) as watched:
                draining = asyncio.create_task(output.read())
                await watched.until("document.getElementById('sbp').textContent !== '—'", 60)
                assert await watched.page.inner_text("#source") == "SIMULATED"
                assert "not calibrated" in await watched.page.inner_text("#standing")
                await watched.until("innpar.shown.trend['15 min']?.rows.length >= 2", 30)
                row = await watched.page.evaluate("innpar.shown.trend['15 min'].rows.at(-1)")
                assert row[4] < row[1] < row[5], "SBP within its interval"
                await watched.until("innpar.sweeps.abp.drawn > innpar.shown.playhead.end - 3", 10)
                assert await watched.page.is_disabled("#mark"), "it only shows"
                broker.kill()
                await watched.until("!document.getElementById('trouble').hidden", 5)
                await watched.until("document.getElementById('sbp').textContent === '—'", 10)
                broker.start()
                await watched.until("document.getElementById('sbp').textContent !== '—'", 60)
                socket = f"request to ws://127.0.0.1:{port}/"
                others = [one for one in watched.troubles if socket not in one]
                refused = "ERR_CONNECTION_REFUSED"
                assert [one for one in others if refused not in one] == []
                draining.cancel()
    finally:
        broker.kill()


async def test_messages_that_break_the_contract_are_left_out() -> None:
    """Properties and packets may be anything; so may their content."""
    need_chromium()
    from support.wards import ward

    async with ward() as (ours, watched):
        ours.hop()
        await watched.until("innpar.shown?.usable != null")
        assert await watched.page.evaluate(HOSTILE) == []


HOSTILE = """(async () => {
    const {itemOf} = await import('./broker.js'), {userProperties} = await import('./mqtt.js');
    const wrong = [];
    const bodies = [null, 1, 'x', [], {}, {t: 'x'}, {t: 1}, {t: 1, rate: 'x', samples: [1]}];
    for (const kind of ['ppg', 'abp', 'beats', 'events', 'meta', 'x'])
        for (const body of bodies) {
            try {
                const item = itemOf(kind, body, {queued_ms: '-1'});
                const timed = item && ['ppg', 'abp', 'beat', 'event'].includes(item.kind);
                if (timed && typeof (item.t) !== 'number') wrong.push([kind, body]);
            } catch (error) {
                if (!(error instanceof TypeError)) wrong.push([kind, String(error)]);
            }
        }
    const property = [0x26, 0, 9, ...new TextEncoder().encode('queued_ms'), 0, 2, 52, 50];
    const bytes = Uint8Array.from([0x01, 1, 0x02, 0, 0, 0, 9, 0x03, 0, 1, 120, ...property]);
    if (userProperties(bytes, 0, bytes.length).queued_ms !== '42') wrong.push('properties');
    if (Object.keys(userProperties(Uint8Array.from([0x7f, 1]), 0, 2)).length) wrong.push('unknown');
    return wrong;
})()"""
