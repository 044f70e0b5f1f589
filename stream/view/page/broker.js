// What a broker publishes, in the form in which a run answers the page.

import { MqttSubscriber } from "./mqtt.js";
import { median, number } from "./words.js";

const MOST = 256; // wearers
const STEPS = { "15 min": 4, "1 h": 15, all: 60 }; // s a row of the trend
const NAMES = ["sbp", "map", "dbp"];

// Medians of the valid beats of consecutive bins.
class Bins {
  constructor(step) {
    this.step = step;
    this.values = [];
  }

  // Rows that are complete once the beat has come: none or one.
  push(beat) {
    const bin = Math.floor(beat.t / this.step), rows = [];
    if (this.bin !== undefined && bin > this.bin) {
      const columns = NAMES.length * 3;
      const middle = Array.from({ length: columns }, (_, k) => median(this.values.map((row) => row[k])));
      rows.push([(this.bin + 0.5) * this.step, ...middle]);
      this.values = [];
    }
    this.bin = Math.max(bin, this.bin ?? bin);
    if (beat.valid && NAMES.every((name) => number(beat[name]) !== null)) {
      const limits = NAMES.flatMap((name) => [0, 1].map((k) => number(beat.interval?.[name]?.[k])));
      this.values.push([...NAMES.map((name) => beat[name]), ...limits]);
    }
    return rows;
  }
}

export class BrokerConnection {
  constructor(url, root, gates, onAnswer, onTrouble) {
    Object.assign(this, { gates, onAnswer, onTrouble, prefix: `${root}/devices/` });
    this.wearers = new Map();
    this.last = 0;
    this.subscriber = new MqttSubscriber(url, `${root}/devices/#`,
      (topic, payload, properties) => this.take(topic, payload, properties),
      (connected, reason) => this.state(connected, reason));
  }

  state(connected, reason) {
    this.run = { broker: connected ? "connected" : "away", queued: 0 };
    this.onTrouble(connected ? null : `The broker does not answer${reason ? `: ${reason}` : ""}. Trying again …`);
  }

  // A message that does not keep to the contract is left out.
  take(topic, payload, properties) {
    if (!topic.startsWith(this.prefix)) return;
    const [device, kind, more] = topic.slice(this.prefix.length).split("/");
    if (more !== undefined || !device) return;
    try {
      const words = new TextDecoder().decode(payload);
      const body = kind === "state" ? { state: words.slice(0, 20) } : JSON.parse(words);
      const item = itemOf(kind, body, properties);
      if (item) this.keep(device.slice(0, 64), item, body);
    } catch (error) {
      console.debug(`${topic}: a message that cannot be shown: ${error}`);
    }
  }

  keep(device, item, body) {
    let wearer = this.wearers.get(device);
    if (!wearer && this.wearers.size >= MOST) return;
    if (!wearer) this.wearers.set(device, (wearer = this.begun(device)));
    if ("arrival" in item || "samples" in item) {
      if (wearer.session && wearer.session !== body.session) {
        this.wearers.set(device, (wearer = this.begun(device)));
      }
      wearer.session = body.session;
    }
    wearer.part.items.push(item);
    wearer.part.lost = counted(wearer.lost, item);
    if (item.kind !== "beat") return;
    for (const [name, bins] of Object.entries(wearer.bins)) {
      const rows = bins.push(item);
      if (!rows.length) continue;
      const level = (wearer.part.trend[name] ??= { step: bins.step, replace: false, rows: [] });
      level.rows.push(...rows);
    }
  }

  begun(device) {
    const bins = Object.fromEntries(Object.entries(STEPS).map(([name, step]) => [name, new Bins(step)]));
    return { device, bins, session: null, lost: [0, 0, null], part: part(device, true) };
  }

  // Hand over what is new, once the page has drawn what it has.
  ask(now) {
    const parts = [...this.wearers.values()].filter((one) => one.part.fresh || one.part.items.length);
    if (!parts.length) return;
    const wearers = parts.map((one) => one.part);
    for (const one of parts) one.part = part(one.device, false);
    this.onAnswer({ commands: false, now: now / 1000, run: this.run, gates: this.gates, wearers }, false);
  }

  command() {
    return Promise.resolve({ ok: false, error: "this page only looks on: send commands to the run itself" });
  }
}

// Samples lost, gaps without a known number, and the time of the first sample, with one item more.
function counted(lost, item) {
  if ("samples" in item) lost[2] ??= item.t;
  if (item.event !== "gap" || (item.detail.signal ?? "ppg") !== "ppg") return lost;
  if (number(item.detail.lost) !== null) lost[0] += item.detail.lost;
  else if (item.end > item.t) lost[1]++;
  return lost;
}

const part = (device, fresh) => ({ device, fresh, items: [], trend: {} });

function finite(...values) {
  if (!values.every((value) => number(value) !== null)) throw new TypeError("a number is missing");
}

const samplesOf = (samples) => Float32Array.from(samples, (value) => number(value) ?? NaN);

// A message as an item of a run's answer; null for one that the page does not show.
export function itemOf(kind, body, properties) {
  if (typeof body !== "object" || body === null) throw new TypeError("not an object");
  if (kind === "ppg" || kind === "abp") {
    finite(body.t, body.rate);
    return { kind, t: body.t, rate: body.rate, samples: samplesOf(body.samples) };
  }
  if (kind === "beats") {
    finite(body.t);
    const queued = /^\d{1,12}$/.test(properties.queued_ms ?? "") ? Number(properties.queued_ms) : 0;
    const { start: t, rate, samples = [] } = body.abp ?? {};
    const abp = { t, rate, samples: samplesOf(samples) };
    return { ...body, kind: "beat", arrival: performance.now() / 1000, queued_ms: queued, abp };
  }
  if (kind === "events") {
    finite(body.t);
    return { kind: "event", event: body.kind, t: body.t, end: body.end, detail: body.detail ?? {} };
  }
  return ["meta", "summary", "state"].includes(kind) ? { kind, body } : null;
}
