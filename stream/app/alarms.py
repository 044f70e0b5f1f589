"""The alarms of a run: beats on their way to the sinks, and the events that they cause."""

from __future__ import annotations

from collections.abc import Sequence

from innpar.stream.beats.alarm import Alarm, AlarmRule
from innpar.stream.results import Beat, Item, State
from innpar.stream.sinks.base import Sink


class AlarmSink:
    """Sink that passes every item on, and adds alarm events.

    Args:
        sink: Destination.
        rules: Applied to each device.
    """

    def __init__(self, sink: Sink, rules: Sequence[AlarmRule]) -> None:
        self._sink = sink
        self._rules = tuple(rules)
        self._alarms: dict[str, list[Alarm]] = {}
        self._newest: dict[str, int] = {}

    async def replace(self, rules: Sequence[AlarmRule]) -> None:
        """Take other rules; an alarm that is on ends with its rule."""
        self._rules = tuple(rules)
        for device, alarms in self._alarms.items():
            known = {alarm.rule: alarm for alarm in alarms}
            self._alarms[device] = [known.pop(rule, Alarm(rule)) for rule in self._rules]
            for alarm in known.values():
                at = self._newest.get(device, 0)
                for event in alarm.end(device, at, "the rule was withdrawn"):
                    await self._sink.send(event)

    async def send(self, item: Item) -> None:
        if isinstance(item, State) and item.state == "offline":
            at = self._newest.get(item.device, 0)
            for alarm in self._alarms.pop(item.device, []):
                for event in alarm.end(item.device, at, "the stream ended"):
                    await self._sink.send(event)
        await self._sink.send(item)
        if isinstance(item, Beat):
            self._newest[item.device] = item.peak
            fresh = [Alarm(rule) for rule in self._rules]
            for alarm in self._alarms.setdefault(item.device, fresh):
                for event in alarm.push(item):
                    await self._sink.send(event)

    async def ready(self) -> None:
        await self._sink.ready()
