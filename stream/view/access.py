"""Access to the page: addresses, hosts, origins and the token."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from innpar.stream.errors import ConfigError

HOST = "127.0.0.1"
PORT = 8787

_LOCAL = {"localhost", "127.0.0.1", "::1"}
_FORM = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:\s]+)(?::|$))?(?P<port>\d{1,5})?")


@dataclass(frozen=True, slots=True)
class PageAddress:
    """Address that the page is served on.

    Attributes:
        port: TCP port; 0 for any free one.
        fixed: Whether the port was given; otherwise the next free one is as good.
    """

    host: str = HOST
    port: int = PORT
    fixed: bool = False

    @classmethod
    def parse(cls, text: str) -> PageAddress:
        """Read ``HOST:PORT``, ``HOST``, ``PORT`` or an empty text.

        Raises:
            ConfigError: Another form.
        """
        wrong = f"{text}: not [HOST:]PORT, such as {HOST}:{PORT}; correct it"
        match = _FORM.fullmatch(text.strip())
        if text.strip().isdigit():
            match = _FORM.fullmatch(f"{HOST}:{text.strip()}")
        if match is None:
            raise ConfigError(wrong)
        port = int(match["port"]) if match["port"] else PORT
        if port > 65535:
            raise ConfigError(wrong)
        host = (match["host"] or HOST).strip("[]")
        return cls(host, port, fixed=bool(match["port"]))

    @property
    def local(self) -> bool:
        """Whether only this computer can reach it."""
        return is_local(self.host)


def is_local(host: str) -> bool:
    """Return whether a host is this computer."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Rights of a request.

    Attributes:
        refusal: Why it is refused; None where it may see the page.
        commands: Whether it may send commands.
    """

    refusal: str | None = None
    commands: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Rule that decides on every request.

    Attributes:
        local: Whether the page is served to this computer only; then looking needs no token.
        port: Port it is served on.
        token: Secret of this run.
    """

    local: bool
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie with the token; cookies do not tell ports apart."""
        return f"innpar-{self.port}"

    def visitor(self, path: str, headers: Mapping[str, str]) -> Visitor:
        """Return the rights of a request.

        Args:
            path: With its query.
            headers: Of the request; a missing one is absent.
        """
        host = headers.get("Host", "")
        if self.local and (urlsplit(f"//{host}").hostname or "") not in _LOCAL:
            return Visitor("this page is for this computer only: open it as localhost")
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return Visitor("another site may not use this page: open it by its own address")
        known = self.knows(path, headers)
        if not known and not self.local:
            return Visitor("open the address with ?token=… that the run printed")
        return Visitor(commands=known)

    def knows(self, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request carries the token: in its query, a cookie or a header."""
        given = parse_qs(urlsplit(path).query).get("token", [])
        given += [headers.get("Authorization", "").removeprefix("Bearer ")]
        try:
            cookies = SimpleCookie(headers.get("Cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if self.cookie in cookies:
            given.append(cookies[self.cookie].value)
        own = self.token.encode()
        return any(hmac.compare_digest(one.encode(errors="replace"), own) for one in given)
