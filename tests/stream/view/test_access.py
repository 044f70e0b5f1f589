"""Access to the page: who may look, who may send commands."""

from __future__ import annotations

import pytest

from innpar.stream.errors import ConfigError
from innpar.stream.view.access import Access, PageAddress

LOCAL = Access(local=True, port=8787, token="secret")
OPEN = Access(local=False, port=8787, token="secret")
COOKIE = {"Cookie": "other=1; innpar-8787=secret"}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("", "127.0.0.1", 8787),
        ("9000", "127.0.0.1", 9000),
        ("0.0.0.0:9000", "0.0.0.0", 9000),
        ("ward.local", "ward.local", 8787),
        ("[::1]:80", "::1", 80),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    address = PageAddress.parse(text)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize("text", ["a:b", "::1", "host:99999", "a b", "host:80:90", "http://x"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not \[HOST:\]PORT"):
        PageAddress.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_this_computer_is_local(host: str) -> None:
    assert PageAddress(host).local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "ward.local"])
def test_any_other_address_is_not(host: str) -> None:
    assert not PageAddress(host).local


def test_looking_needs_no_token_on_this_computer_but_commands_do() -> None:
    visitor = LOCAL.visitor("/", {"Host": "localhost:8787"})
    assert visitor.refusal is None
    assert not visitor.commands
    assert LOCAL.visitor("/", {"Host": "localhost:8787", **COOKIE}).commands


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8787", "127.0.0.1.evil.example"]
)
def test_another_name_of_this_computer_is_refused(host: str) -> None:
    assert LOCAL.visitor("/?token=secret", {"Host": host}).refusal is not None


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://"])
def test_another_origin_is_refused_even_with_the_token(origin: str) -> None:
    headers = {"Host": "localhost:8787", "Origin": origin, **COOKIE}
    assert LOCAL.visitor("/live", headers).refusal is not None
    assert OPEN.visitor("/live", headers).refusal is not None


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/?token=secret", {}),
        ("/ward/7/?token=secret", {}),
        ("/live", COOKIE),
        ("/page.css", {"Authorization": "Bearer secret"}),
    ],
)
def test_the_token_opens_another_address(path: str, headers: dict[str, str]) -> None:
    visitor = OPEN.visitor(path, {"Host": "ward:8787", **headers})
    assert visitor.refusal is None
    assert visitor.commands


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Cookie": "innpar-8787=wrong"},
        {"Cookie": "innpar-1234=secret"},
        {"Cookie": "=;;"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer sécret"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/", "/live", "/main.js", "/?token=", "/?token=wrong", "/x/?token"]
)
def test_nothing_else_does(path: str, headers: dict[str, str]) -> None:
    assert OPEN.visitor(path, {"Host": "ward:8787", **headers}).refusal is not None


def test_each_run_has_a_token_of_its_own_that_no_repr_shows() -> None:
    one, other = Access(True, 1), Access(True, 1)
    assert one.token != other.token
    assert len(one.token) >= 32
    assert one.token not in repr(one)
