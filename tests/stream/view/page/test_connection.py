"""A run that goes away and comes back."""

from __future__ import annotations

import pytest

from innpar.stream.view.access import PageAddress
from innpar.stream.view.server import serving
from support.browsers import chromium, need_chromium
from support.wards import Ward

pytestmark = pytest.mark.slow  # Chromium


@pytest.mark.slow
async def test_a_run_that_ends_is_reported_and_one_that_returns_is_shown() -> None:
    need_chromium()
    ours = Ward()
    async with serving(PageAddress(port=0, fixed=True), ours.board, None) as url:
        port = int(url.split(":")[2].split("/")[0])
        context = chromium(url)
        watched = await context.__aenter__()
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
    try:
        await watched.until("!document.getElementById('trouble').hidden", 2.5)
        again = Ward()
        async with serving(PageAddress(port=port, fixed=True), again.board, None):
            again.hop(sbp=133.0)
            await watched.until("document.getElementById('sbp').textContent === '133'", 6)
            assert not await watched.page.is_visible("#trouble")
    finally:
        await context.__aexit__(None, None, None)
