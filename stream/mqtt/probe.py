"""A test whether a broker can be reached, with the reason if not."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from innpar.stream.errors import BrokerError
from innpar.stream.mqtt.address import Address

_PATIENCE = 5.0
"""s for a connection, TLS included."""


class BrokerAway(BrokerError):
    """The broker cannot be reached, which may change by itself."""


async def probe(address: Address, context: ssl.SSLContext | None) -> None:
    """Check that the broker can be reached at all.

    aiomqtt connects in a thread that cannot be cancelled, and its errors have little detail.

    Raises:
        BrokerError: It cannot; the message names the cause.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        raise BrokerAway(f"{address} does not answer: check host, port and firewall") from None
    except ssl.SSLCertVerificationError as error:
        raise BrokerError(
            f"the certificate of {address} cannot be trusted ({error.verify_message}): "
            f"{_cure(error.verify_code)}"
        ) from None
    except ssl.SSLError as error:
        raise BrokerError(
            f"TLS with {address} fails ({error.reason or error}): is this its TLS port, often 8883?"
        ) from None
    except ConnectionResetError:
        question = "is it an MQTT broker, and does it use TLS on this port?"
        raise BrokerError(f"{address} closes the connection: {question}") from None
    except ConnectionRefusedError:
        raise BrokerAway(f"nothing listens at {address}: start the broker there") from None
    except OSError as error:
        raise BrokerAway(
            f"{address} cannot be reached ({error.strerror or error}): check name and network"
        ) from None


def _cure(code: int) -> str:
    """Return the cure for a certificate that fails with this code of OpenSSL."""
    if code in (9, 10):
        return "renew it, or set the clock of this computer"
    if code in (62, 64):
        return "use a host name or address that stands in it"
    return "name its authority with ?ca=FILE"


def tls_context(address: Address) -> ssl.SSLContext | None:
    """Return the certificates to trust and to present, or None if the address is not mqtts.

    Raises:
        BrokerError: A certificate's file is missing or unusable.
    """
    if not address.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.ca)
        if address.cert is not None:
            context.load_cert_chain(address.cert, address.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(name for name in (address.ca, address.cert, address.key) if name)
        raise BrokerError(f"no usable certificate in {files} ({error}): check the files") from None
    return context
