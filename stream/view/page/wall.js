// All wearers as tiles, in the order of their first message; a tile without a usable beat goes pale.

import { Sweep } from "./sweep.js";
import { reason, whole, wider } from "./words.js";

export class Wall {
  constructor(host, open) {
    this.host = host;
    this.open = open;
    this.tiles = new Map();
  }

  arrange(wearers) {
    for (const wearer of wearers) if (!this.tiles.has(wearer.device)) this.add(wearer);
    for (const [device, tile] of this.tiles) {
      if (!wearers.some((wearer) => wearer.device === device)) {
        tile.element.remove();
        this.tiles.delete(device);
      }
    }
    const columns = Math.ceil(Math.sqrt(this.tiles.size));
    this.host.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  }

  add(wearer) {
    const element = document.createElement("button");
    element.type = "button";
    element.className = "tile";
    const head = span("head", "span"), name = span("", "b"), source = span("dim", "span");
    head.append(name, source);
    const numbers = span("numbers", "span"), pressure = span("abp", "span"), small = span("", "small");
    numbers.append(pressure, " ", small);
    const plot = span("plot", "span");
    element.append(head, plot, numbers);
    element.onclick = () => this.open(wearer.device);
    this.host.append(element);
    const sweep = new Sweep(plot, {
      kind: "abp", colour: "abp", range: [40, 160], limits: [0, 300], step: 20, figures: false,
    });
    sweep.span = 4;
    this.tiles.set(wearer.device, { element, name, source, pressure, small, sweep });
  }

  draw(wearer, now) {
    const tile = this.tiles.get(wearer.device);
    if (!tile) return;
    if (wearer.tileRestarted) tile.sweep.reset();
    wearer.tileRestarted = false;
    const newest = wearer.traces.abp.chunks.at(-1);
    if (newest && newest !== tile.newest) tile.sweep.fit((tile.newest = newest).samples);
    tile.sweep.advance(wearer.traces.abp, wearer.playhead.head);
  }

  write(wearer, now) {
    const tile = this.tiles.get(wearer.device);
    if (!tile) return;
    const current = wearer.current(now), beat = wearer.usable, newest = wearer.newest;
    const state = (current ? beat : newest)?.calibration?.state;
    tile.element.classList.toggle("pale", !current);
    tile.element.classList.toggle("open", current && state === "none");
    set(tile.name, wearer.device);
    set(tile.source, String(wearer.source ?? "").toUpperCase());
    set(tile.pressure, current ? `${whole(beat.sbp)}/${whole(beat.dbp)}` : "—/—");
    const standing = { none: "not calibrated", stale: "cuff reading out of date" }[state];
    const words = current
      ? [`${wider(beat, "sbp")}/${wider(beat, "dbp")}`, standing, `HR ${whole(newest.hr)}`]
      : [newest ? reason(newest) || "no usable beat" : "no beat yet"];
    set(tile.small, words.filter(Boolean).join(" · "));
  }

  repaint() {
    for (const tile of this.tiles.values()) tile.sweep.repaint();
  }
}

function span(name, tag) {
  const element = document.createElement(tag);
  element.className = name;
  return element;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
