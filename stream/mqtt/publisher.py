"""The messages of an item: their form, and pseudonyms in place of addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from innpar.devices import Event
from innpar.stream.messages.home_assistant import discovery
from innpar.stream.messages.parcel import Parcel
from innpar.stream.messages.payload import parcel
from innpar.stream.messages.pseudonym import Pseudonyms
from innpar.stream.messages.raw import raw_parcel
from innpar.stream.mqtt.bridge import Bridge
from innpar.stream.results import Beat, DeviceInfo, Item, Summary, Waveform

MOST_WAVES = 16
"""Wearers up to which a run publishes waveforms unless its settings say otherwise."""


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """Options of a run for its messages.

    Attributes:
        waveform: JSON; bare float32 samples, which need MQTT 5; or no waveforms.
        beats_on: Topics of the beats: ``<root>/estimates``, those of the devices, or both.
        home_assistant: First levels of Home Assistant's discovery topics; None for no discovery.
        fhir: Whether every summary is also published as FHIR observations.
        keep_address: Whether radio addresses and serial numbers are published as they are, not as
            a pseudonym that differs from run to run.
    """

    waveform: Literal["json", "raw", "off"] = "json"
    home_assistant: str | None = None
    fhir: bool = False
    keep_address: bool = False
    beats_on: Literal["both", "estimates", "devices"] = "both"


class Publisher:
    """Makes the messages of one process.

    Attributes:
        infos: The last of each device, as published.
    """

    def __init__(self, bridge: Bridge, options: MessageOptions) -> None:
        self.options = options
        self._bridge = bridge
        self._pseudonyms = Pseudonyms(keep=options.keep_address)
        self.infos: dict[str, DeviceInfo] = {}

    def parcels(self, item: Item) -> list[Parcel]:
        """Return the messages of an item, in order."""
        root = self._bridge.root
        if isinstance(item, Beat):
            return [self._chosen(parcel(item, root))]
        if isinstance(item, Waveform) and self.options.waveform != "json":
            return [raw_parcel(item, root)] if self.options.waveform == "raw" else []
        if isinstance(item, Event):
            return [parcel(replace(item, detail=self._hidden(item.detail)), root)]
        if isinstance(item, DeviceInfo):
            item = replace(item, detail=dict(self._hidden(item.detail)))
            self.infos[item.device] = item
            return self._of(item)
        if isinstance(item, Summary) and self.options.fhir:
            from innpar.stream.messages.fhir import observations

            return [parcel(item, root), *observations(item, root)]
        return [parcel(item, root)]

    def retained(self) -> list[Parcel]:
        """Return the retained messages about devices."""
        return [message for info in self.infos.values() for message in self._of(info)]

    def discovery(self) -> list[Parcel]:
        """Return the messages by which Home Assistant discovers the devices, if enabled."""
        return [message for info in self.infos.values() for message in self._discovery(info)]

    def _chosen(self, beat: Parcel) -> Parcel:
        """Return a beat's message on the topics of `MessageOptions.beats_on` only."""
        if self.options.beats_on == "both":
            return beat
        wanted = 0 if self.options.beats_on == "estimates" else 1
        return replace(beat, topics=(beat.topics[wanted],))

    def _of(self, info: DeviceInfo) -> list[Parcel]:
        return [parcel(info, self._bridge.root), *self._discovery(info)]

    def _discovery(self, info: DeviceInfo) -> list[Parcel]:
        prefix = self.options.home_assistant
        if prefix is None:
            return []
        return [discovery(info, self._bridge.node, self._bridge.root, prefix)]

    def _hidden(self, detail: Mapping[str, object]) -> Mapping[str, object]:
        hidden: Mapping[str, object] = self._pseudonyms.hidden(detail)
        return hidden
