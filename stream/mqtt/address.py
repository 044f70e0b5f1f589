"""The address of a broker, read from a URL."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from innpar.stream.errors import BrokerError

_FORM = "write mqtt://[user:password@]host[:port], or mqtts:// for TLS"
_PORT = {"mqtt": 1883, "mqtts": 8883}
_FILES = {"ca", "cert", "key"}
_PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class Address:
    """A broker and the credentials for it.

    Attributes:
        plaintext: Whether a password may be sent unencrypted to another computer.
        embedded: Whether it was started by this process and ends with it.
        only_311: Whether it is known to speak MQTT 3.1.1 only, as amqtt does.
        ca: File of the certificate authorities to trust instead of the system's.
        cert: File of the client certificate, with `key`.
        key: File of its private key.
    """

    host: str
    port: int = 1883
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    plaintext: bool = False
    embedded: bool = False
    only_311: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``mqtt://user:password@host:port`` or ``mqtts://host:port?ca=FILE``.

        Raises:
            BrokerError: It is not such a URL. The message shows no password.
        """
        shown = re.sub(r"//.*@", "//…@", url)
        try:
            parts = urlsplit(url)
        except ValueError:
            raise BrokerError(f"broker {shown!r} is not a URL: {_FORM}") from None
        try:
            port = parts.port
        except ValueError:
            reason = "the port is a number from 1 to 65535"
            raise BrokerError(f"broker {shown!r} is not a URL: {reason}") from None
        if parts.scheme not in _PORT:
            raise BrokerError(f"broker {shown!r} is not an MQTT URL: {_FORM}")
        if not parts.hostname or port == 0 or parts.path.strip("/") or parts.fragment:
            raise BrokerError(f"broker {shown!r} must have a host and a port only: {_FORM}")
        query = dict(parse_qsl(parts.query))
        plaintext = query.pop(_PLAINTEXT, "refuse")
        if plaintext not in ("allow", "refuse"):
            raise BrokerError(f"broker {shown!r} has plaintext={plaintext!r}: use allow or refuse")
        if unknown := set(query) - _FILES:
            raise BrokerError(
                f"broker {shown!r} has an unknown ?{min(unknown)}=: use ca, cert or key"
            )
        if query and parts.scheme != "mqtts":
            raise BrokerError(f"broker {shown!r} has certificates but no TLS: use mqtts://")
        return cls(
            host=parts.hostname,
            port=port or _PORT[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password is not None else None,
            plaintext=plaintext == "allow",
            ca=query.get("ca"),
            cert=query.get("cert"),
            key=query.get("key"),
        )

    @property
    def local(self) -> bool:
        """Whether the broker is on this computer."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def check_password(self) -> None:
        """Check that no password would cross the network unencrypted.

        Raises:
            BrokerError: It would, and was not allowed to.
        """
        if self.password is None or self.tls or self.local or self.plaintext:
            return
        raise BrokerError(
            f"{self} would receive the password unencrypted: use mqtts://, or allow it with "
            "--allow-plaintext (in a URL: ?plaintext=allow)"
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def check_root(root: str) -> str:
    """Return `root` if it is valid at the beginning of a topic.

    Raises:
        BrokerError: It is empty, has a wildcard, or begins or ends with a slash or ``$``.
    """
    if not root or root != root.strip("/") or re.search(r"[#+\x00-\x1f]|^\$|//", root):
        raise BrokerError(
            f"topic {root!r} is not a valid root: use levels without # and +, such as 'bp'"
        )
    return root
