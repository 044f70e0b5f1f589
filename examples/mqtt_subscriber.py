"""Subscribe to the beats that a run publishes on MQTT, with aiomqtt and nothing of innpar.

    innpar-stream --device demo          # in one terminal
    python examples/mqtt_subscriber.py [HOST [PORT]]

docs/mqtt.md has every topic and the schema of every message.
"""

import asyncio
import json
import sys
from contextlib import suppress

import aiomqtt


async def main(host: str = "localhost", port: str = "1883") -> None:
    async with aiomqtt.Client(host, int(port)) as client:
        await client.subscribe("bp/estimates", qos=1)
        async for message in client.messages:
            beat = json.loads(message.payload)
            if beat["valid"]:
                print(f"{beat['device']}: {beat['sbp']}/{beat['dbp']} {beat['unit']}", flush=True)
            else:
                print(f"{beat['device']}: {', '.join(beat['reasons'])}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
