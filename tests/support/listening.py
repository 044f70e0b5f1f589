"""An independent subscriber, mosquitto_sub, and its messages."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMAT = r"%t\t%q\t%r\t%C\t%E\t%P\t%p"
_READY = "listening/ready"


@dataclass(frozen=True)
class Heard:
    topic: str
    qos: int
    retained: bool
    content_type: str
    expiry: str
    headers: dict[str, str]
    payload: str

    @property
    def json(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.payload)
        return message


class Listener:
    """A mosquitto_sub on some topics; subscribed once constructed."""

    def __init__(self, port: int, topics: tuple[str, ...], file: Path) -> None:
        self._file = file
        where = ["-h", "127.0.0.1", "-p", str(port)]
        asked = [word for topic in (*topics, _READY) for word in ("-t", topic)]
        with file.open("wb") as out:
            self._process = subprocess.Popen(
                ["mosquitto_sub", *where, "-V", "5", "-q", "1", *asked, "-F", _FORMAT],
                stdout=out,
            )
        deadline = time.monotonic() + 10
        while _READY not in file.read_text():
            assert time.monotonic() < deadline, "mosquitto_sub receives nothing"
            publish = ["mosquitto_pub", *where, "-t", _READY, "-m", "x"]
            subprocess.run(publish, check=True, timeout=10)
            time.sleep(0.05)

    def heard(self, topic: str | None = None) -> list[Heard]:
        """Return the messages so far, on one topic or on all."""
        lines = self._file.read_text().split("\n")[:-1]
        found = [_heard(line) for line in lines if not line.startswith(_READY)]
        return [message for message in found if topic in (None, message.topic)]

    def wait(self, enough: Callable[[list[Heard]], bool], *, within: float = 15) -> list[Heard]:
        """Return the messages once `enough` holds for them; fail after `within` s."""
        deadline = time.monotonic() + within
        while not enough(messages := self.heard()):
            assert time.monotonic() < deadline, [(m.topic, m.payload[:80]) for m in messages[-20:]]
            time.sleep(0.05)
        return messages

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


def _heard(line: str) -> Heard:
    topic, qos, retained, content_type, expiry, headers, payload = line.split("\t", 6)
    named = dict(header.split(":", 1) for header in headers.split(" ") if header)
    return Heard(topic, int(qos), retained == "1", content_type, expiry, named, payload)
