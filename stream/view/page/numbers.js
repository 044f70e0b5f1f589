// The numbers, each with its interval; a number older than 5 s gives way to a dash.

import { ago, clock, cuffText, eventText, number, range, reason, signed, taken, whole } from "./words.js";

const $ = (id) => document.getElementById(id);

export function put(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

const SOURCES = { simulated: "SIMULATED", replay: "REPLAY", live: "LIVE" };

export function showNumbers(wearer, now) {
  const beat = wearer.usable, current = wearer.current(now), newest = wearer.newest;
  const calibration = ((current ? beat : newest) ?? {}).calibration ?? {};
  for (const name of ["sbp", "dbp", "map"]) {
    put(name, current ? whole(beat[name]) : "—");
    $(name).classList.toggle("none", !current);
    const interval = current ? range(beat.interval?.[name]) : "";
    put(`${name}-interval`, interval);
    $(`${name}-interval`).title = interval ? `${percent(beat)} % interval, mmHg` : "";
  }
  put("beat-title", current || !beat ? "Last beat" : `Last usable beat, ${ago(age(beat, now))} ago`);
  put("age", beat ? `beat ${ago(age(beat, now))} ago` : "");
  $("pressure").classList.toggle("open", current && calibration.state === "none");
  $("pressure").classList.toggle("old", !current);
  put("standing", standing(beat, current, calibration, now));
  put("reason", current || !newest ? (newest && !newest.valid ? reason(newest) : "") : reason(newest) || silence(wearer));
  const rate = newest && wearer.fresh(newest, now) ? number(newest.hr) : null;
  put("hr", whole(rate));
  $("hr").classList.toggle("none", rate === null);
  showQuality(wearer, newest, now);
}

// Time since the systolic peak at the sensor, s.
const age = (beat, now) => now - beat.arrived + beat.delay;

function percent(beat) {
  return Math.round((beat.interval?.level ?? 0.9) * 100);
}

function standing(beat, current, calibration, now) {
  if (!current) {
    return beat ? `last ${whole(beat.sbp)}/${whole(beat.dbp)}, ${ago(age(beat, now))} ago` : "no beat yet";
  }
  const level = beat.interval ? `${percent(beat)} % interval` : "no interval";
  if (calibration.state === "none") return `${level} · not calibrated: enter a cuff reading`;
  if (calibration.state === "stale") return `${level} · cuff reading out of date: measure again`;
  return level;
}

const silence = (wearer) =>
  wearer.state === "offline" ? "sensor not connected" : wearer.state === "stale" ? "sensor sends nothing"
    : wearer.newest?.timely === false ? "beats arrive late" : "no usable beat";

function showQuality(wearer, newest, now) {
  const quality = newest && now - newest.arrived <= 8 ? number(newest.quality) : null;
  put("quality", quality === null ? "—" : `${Math.round(quality * 100)} %`);
  $("quality-bar").value = quality ?? 0;
  const words = [];
  if (wearer.state && wearer.state !== "online") words.push(silence(wearer));
  if (newest) words.push(newest.valid ? "usable" : reason(newest) || "not usable");
  if (number(wearer.summary.battery) !== null) words.push(`battery ${whole(wearer.summary.battery)} %`);
  put("wear", words.join(" · "));
}

export function showHead(wearer) {
  put("device", wearer.device);
  const source = wearer.source;
  $("source").hidden = !source;
  put("source", SOURCES[source] ?? String(source ?? "").toUpperCase());
  const detail = wearer.meta.detail ?? {};
  const rate = number(detail.rate);
  put("about", [detail.subject, detail.model === "unknown" ? null : detail.model, rate === null ? null : `${rate} Hz`].filter(Boolean).join(" · "));
  $("truth").hidden = !wearer.newest?.reference;
  const total = number(wearer.newest?.latency_ms?.total);
  put("latency", total === null ? "" : `${(total / 1000).toFixed(1)} s behind the wrist`);
}

// The calibration in force and the readings so far, with what ours was off by.
export function showCuff(wearer) {
  const calibration = wearer.newest?.calibration ?? {};
  const calibrated = calibration.state === "ok" || calibration.state === "stale";
  put("cuff-title", calibrated ? `Cuff ${whole(calibration.sbp)}/${whole(calibration.dbp)}` : "Cuff");
  put("cuff-age", calibrated && number(calibration.age_s) !== null ? `${ago(calibration.age_s)} ago` : "");
  const words = { none: "Not calibrated", stale: "Too old, or too much has changed since", ok: "In force" };
  put("cuff-state", words[calibration.state] ?? "");
  const { readings } = wearer;
  list("cuff-history", readings.slice(-4).reverse().map((event) => [taken(event), cuffText(event)]));
  $("cuff-undo").hidden = readings.every((event) => event.withdrawn);
}

export function showEvents(wearer) {
  const rows = wearer.events.map((event) => [event.t, eventText(event)]).filter((row) => row[1]);
  list("events", rows.slice(-12).reverse());
}

function list(id, rows) {
  const items = rows.map(([t, text]) => {
    const item = document.createElement("li");
    item.textContent = `${clock(t)} ${text}`;
    return item;
  });
  $(id).replaceChildren(...items);
}

// Samples lost of those that the sensor has sent by its rate, since the session began.
function lostText({ lost: [samples, uncounted, since], meta, traces }) {
  const rate = number(meta.detail?.rate), sent = rate && since ? Math.round((traces.ppg.end - since) * rate) : NaN;
  const of = sent > 0 ? ` of about ${Math.max(sent, samples).toLocaleString("en")}` : "";
  const more = uncounted ? `, and ${uncounted} gaps of unknown length` : "";
  return `${samples.toLocaleString("en")}${of} samples lost${more}`;
}

const LATENCIES = ["sensor", "guard", "lookahead", "hop", "beat", "compute"];

const megabytes = (recordings) => (recordings.reduce((sum, one) => sum + one.bytes, 0) / 1e6).toFixed(1);
const brokerText = (run) => run.broker && `broker ${run.broker}, ${run.queued} queued`;

// Last line of the wall: the run's recordings and its broker.
export function showRun(run, drawn) {
  const recordings = Object.values(run.recording ?? {});
  const recording = recordings.length && `● recording ${recordings.length}, ${megabytes(recordings)} MB`;
  line([recording, brokerText(run), `${drawn} frames/s`].filter(Boolean));
}

// Last line of a wearer.
export function showState(wearer, run, drawn) {
  const parts = [];
  const add = (text) => text && parts.push(text);
  const recording = run.recording?.[wearer.device];
  if (recording) add(`● recording ${recording.name}, ${megabytes([recording])} MB`);
  add(brokerText(run));
  add(wearer.state && `sensor ${wearer.state}`);
  const battery = number(wearer.summary.battery);
  add(battery !== null && `battery ${whole(battery)} %`);
  add(lostText(wearer));
  const ppm = number(wearer.newest?.clock?.skew_ppm);
  add(ppm !== null && `clock ${signed(ppm)} ppm`);
  const latency = wearer.newest?.latency_ms;
  const delays = LATENCIES.filter((name) => number(latency?.[name]) !== null);
  add(delays.length && `latency ${delays.map((name) => `${name} ${latency[name]}`).join(" · ")} ms`);
  add(wearer.meta.model && `model ${String(wearer.meta.model).split("@")[0]}`);
  add(`${drawn} frames/s`);
  line(parts);
}

function line(parts) {
  const state = $("state");
  while (state.children.length < parts.length) state.append(document.createElement("span"));
  while (state.children.length > parts.length) state.lastChild.remove();
  parts.forEach((text, i) => {
    if (state.children[i].textContent !== text) state.children[i].textContent = text;
  });
}
