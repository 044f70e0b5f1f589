"""The page as a whole: contrast, and what everyone can use."""

from __future__ import annotations

import json

import pytest

from support.wards import ward


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_every_text_has_enough_contrast(theme: str) -> None:
    async with ward() as (ours, watched):
        ours.hop()
        await watched.until("document.getElementById('sbp').textContent === '121'")
        await watched.page.evaluate(f"innpar.controls.setTheme('{theme}')")
        ratios = json.loads(await watched.page.evaluate(CONTRAST))
        assert len(ratios) == 2 * 6
        assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


CONTRAST = """() => {
    const style = getComputedStyle(document.documentElement);
    const light = name => {
        const hex = style.getPropertyValue('--' + name).trim().slice(1);
        const part = k => parseInt(hex.slice(k, k + 2), 16) / 255;
        const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(part(0)) + 0.7152 * linear(part(2)) + 0.0722 * linear(part(4));
    };
    const found = {};
    for (const back of ['panel', 'control']) {
        for (const ink of ['text', 'dim', 'abp', 'ppg', 'hr', 'cuff']) {
            const [a, b] = [light(back), light(ink)].sort((x, y) => y - x);
            found[`${ink} on ${back}`] = (a + 0.05) / (b + 0.05);
        }
    }
    return JSON.stringify(found);
}"""
