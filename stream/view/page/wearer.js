// Everything the page knows about one wearer.

import { Playhead } from "./playhead.js";
import { decoded, Trace } from "./trace.js";
import { number, withdraw } from "./words.js";

const BACK = 600; // s of waveform kept for scrolling back
const BEATS = 1500;
const STANDS = 5; // s that a number stands without a new one

export class Wearer {
  constructor(device) {
    this.device = device;
    this.clear();
  }

  clear() {
    this.traces = { ppg: new Trace(BACK), abp: new Trace(BACK) };
    this.playhead = new Playhead();
    this.beats = [];
    this.usable = null; // newest beat with pressures
    this.events = [];
    this.trend = {};
    this.meta = this.summary = {};
    this.lost = [0, 0, null]; // samples, gaps without a known number, and since when, s
    this.state = null;
    this.version = 0; // changes with every message
    this.restarted = true; // everything has to be drawn again
  }

  get newest() {
    return this.beats.at(-1) ?? null;
  }

  get source() {
    return this.newest?.source ?? this.meta.source ?? null;
  }

  take(part, offset, now) {
    if (part.fresh) this.clear();
    this.version++;
    this.lost = part.lost ?? this.lost;
    for (const item of part.items) this.item(item, offset, now);
    for (const [name, level] of Object.entries(part.trend)) this.level(name, level);
  }

  item(item, offset, now) {
    if (item.kind === "ppg" || item.kind === "abp") {
      const chunk = this.traces[item.kind].push(item);
      const end = chunk.t + chunk.samples.length / chunk.rate;
      if (item.kind === "ppg") this.playhead.arrived(chunk.t, end, now);
    } else if (item.kind === "beat") {
      item.arrived = item.arrival + offset; // s of this computer's clock
      const queued = number(item.queued_ms) ?? 0;
      item.delay = ((number(item.delay_ms) ?? number(item.latency_ms?.total) ?? 0) + queued) / 1000; // s
      item.timely = !item.late && queued <= 1000 * STANDS;
      if (item.abp.data) item.abp.samples = decoded(item.abp.data, item.abp.scale);
      this.beats.push(item);
      if (this.beats.length > BEATS) this.beats.shift();
      if (item.valid) this.usable = item;
    } else if (item.kind === "event") {
      this.events = this.events.filter((one) => !(one.pending && one.event === item.event));
      if (item.event === "cuff_undone") withdraw(this.events, item);
      this.events.push(item);
      if (this.events.length > 200) this.events.shift();
    } else if (item.kind === "meta") this.meta = item.body;
    else if (item.kind === "summary") this.summary = item.body;
    else if (item.kind === "state") this.state = item.body.state;
  }

  level(name, level) {
    const known = this.trend[name];
    if (!known || level.replace) this.trend[name] = { step: level.step, rows: level.rows };
    else known.rows.push(...level.rows);
    if (name !== "all" && this.trend[name].rows.length > 300) this.trend[name].rows.splice(0, 50);
  }

  // Whether the last beat with pressures is recent enough to stand as a number.
  current(now) {
    return this.usable !== null && this.fresh(this.usable, now);
  }

  fresh(beat, now) {
    return beat.timely && now - beat.arrived <= STANDS;
  }

  // Cuff readings, oldest first.
  get readings() {
    return this.events.filter((event) => event.event === "cuff");
  }

  // Rejected stretches between two times: [{from, to, why}], by the samples without pressure and the
  // beats without pressures.
  rejected(from, to, why) {
    const spans = [];
    const add = (a, b, words) => {
      const last = spans.at(-1);
      if (last && a <= last.to + 0.1) {
        last.to = Math.max(last.to, b);
        last.why ||= words;
      } else spans.push({ from: a, to: b, why: words });
    };
    const parts = [];
    const { ppg, abp } = this.traces;
    for (let i = ppg.first(from); i < ppg.chunks.length && ppg.chunks[i].t < to; i++) {
      const { t, rate, samples } = ppg.chunks[i];
      if (isNaN(abp.at(t + samples.length / rate / 2))) parts.push([t, t + samples.length / rate, ""]);
    }
    for (const beat of this.beats) {
      if (!beat.valid && beat.t > from - 1 && beat.t < to + 1) parts.push([beat.t - 0.35, beat.t + 0.45, why(beat)]);
    }
    for (const [a, b, words] of parts.sort((one, other) => one[0] - other[0])) add(a, b, words);
    return spans;
  }
}
