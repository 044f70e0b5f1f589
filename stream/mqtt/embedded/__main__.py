"""The embedded broker's process: ``python -m innpar.stream.mqtt.embedded SETTINGS``.

Writes the port on standard output once it listens, and ends when standard input does.
"""

from __future__ import annotations

import json
import sys

from innpar.stream.mqtt.broker import BrokerSettings

if __name__ == "__main__":
    settings = BrokerSettings(**json.loads(sys.argv[1]))
    if settings.program:
        from innpar.stream.mqtt.embedded.mosquitto_broker import serve
    else:
        from innpar.stream.mqtt.embedded.amqtt_broker import serve
    serve(settings)
