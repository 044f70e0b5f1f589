// The live page: one loop that draws, then asks for more.

import { BrokerConnection } from "./broker.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { gates, showGates } from "./gates.js";
import { BeatPlot, landmarks } from "./inspector.js";
import { PlayerBar } from "./player.js";
import { put, showCuff, showEvents, showHead, showNumbers, showRun, showState } from "./numbers.js";
import { Sweep } from "./sweep.js";
import { Target } from "./target.js";
import { change, TrendPlot } from "./trend.js";
import { Wall } from "./wall.js";
import { Wearer } from "./wearer.js";
import { reason, whole } from "./words.js";

const $ = (id) => document.getElementById(id);
const plot = (id) => document.querySelector(`${id} .plot`);

const page = {
  wearers: new Map(),
  shown: null, // the wearer on the single page
  wall: false,
  paused: null, // s of signal at the right edge; null while running
  commands: false,
  run: {},
  frames: 0,
  rate: 0,
  sweeps: {
    ppg: new Sweep(plot("#ppg"), { kind: "ppg", colour: "ppg", range: [-2, 3], limits: [-12, 12], step: 1 }),
    abp: new Sweep(plot("#abp"), { kind: "abp", colour: "abp", range: [40, 160], limits: [0, 300], step: 20 }),
  },
  trend: new TrendPlot(plot(".trend")),
  beat: new BeatPlot(plot(".beat")),
};
window.innpar = page; // for tests and for the curious

page.wallOfTiles = new Wall($("tiles"), (device) => page.show(device));
page.connection = connection();
page.controls = new Controls(page);
page.player = new PlayerBar(page);
page.target = new Target(page);

// A page that stands by itself names its broker; any other belongs to a run.
function connection() {
  const named = (name) => document.querySelector(`meta[name="innpar-${name}"]`)?.content;
  const broker = named("broker");
  if (!broker) return new Connection(take, trouble);
  return new BrokerConnection(broker, named("topic"), JSON.parse(named("gates")), take, trouble);
}

page.show = (device) => {
  page.shown = page.wearers.get(device) ?? page.shown;
  page.wall = false;
  page.written = null;
  if (page.shown) page.shown.restarted = true;
  arrange();
};

page.showWall = () => {
  page.wall = true;
  arrange();
};

page.repaint = () => {
  for (const sweep of Object.values(page.sweeps)) sweep.repaint();
  page.wallOfTiles.repaint();
  if (page.shown) {
    page.trend.target = page.target.value;
    page.trend.draw(page.shown);
    page.beat.draw(page.shown);
  }
};

function arrange() {
  $("single").hidden = page.wall;
  $("tiles").hidden = !page.wall;
  page.controls.refresh();
  page.repaint();
}

function take(answer, restarted) {
  const now = performance.now() / 1000, offset = now - answer.now;
  if (restarted) {
    page.wearers.clear();
    page.restartedShown = page.shown?.device;
  }
  page.commands = answer.commands;
  page.run = answer.run ?? {};
  page.gates = answer.gates ?? page.gates;
  for (const part of answer.wearers) {
    let wearer = page.wearers.get(part.device);
    if (!wearer) page.wearers.set(part.device, (wearer = new Wearer(part.device)));
    if (part.fresh) wearer.tileRestarted = true;
    wearer.take(part, offset, now);
  }
  if (restarted) page.shown = page.wearers.get(page.restartedShown) ?? null;
  page.shown ??= page.wearers.values().next().value ?? null;
  page.wallOfTiles.arrange([...page.wearers.values()]);
  page.controls.refresh();
  page.player.refresh();
}

function trouble(text) {
  $("trouble").hidden = !text;
  put("trouble", text ?? "");
}

function drawSingle(wearer) {
  if (wearer.restarted) {
    for (const sweep of Object.values(page.sweeps)) sweep.reset();
    wearer.restarted = false;
    page.fitted = {};
    page.controls.pauseAt(null); // the moment may be of another wearer or stretch
  }
  const head = page.paused ?? wearer.playhead.head;
  for (const [kind, sweep] of Object.entries(page.sweeps)) {
    const trace = wearer.traces[kind];
    for (let i = trace.chunks.length - 1; i >= 0 && trace.chunks[i] !== page.fitted?.[kind]; i--) {
      sweep.fit(trace.chunks[i].samples);
      if (trace.chunks[i].t < head - 30) break;
    }
    (page.fitted ??= {})[kind] = trace.chunks.at(-1);
    if (sweep.mode === "sweep" || sweep.drawn !== head) sweep.advance(trace, head);
  }
}

let written = 0, version = -1, before = 0, counted = 0;

function write(now) {
  const wearer = page.shown;
  if (page.wall) {
    for (const one of page.wearers.values()) page.wallOfTiles.write(one, now);
    document.title = `${page.wearers.size} wearer${page.wearers.size === 1 ? "" : "s"}`;
    put("device", document.title);
    put("about", "");
    $("source").hidden = true;
    showRun(page.run, page.rate);
    return;
  }
  if (!wearer) return;
  document.title = title(wearer, now);
  showNumbers(wearer, now);
  for (const sweep of Object.values(page.sweeps)) sweep.annotate(wearer, reason);
  showState(wearer, page.run, page.rate);
  if (version === wearer.version && page.written === wearer) return;
  version = wearer.version;
  page.written = wearer;
  showHead(wearer);
  showCuff(wearer);
  showEvents(wearer);
  page.trend.target = page.target.value;
  page.trend.draw(wearer);
  const { rows, step } = page.trend.visible(wearer);
  put("target", page.target.text(rows, step));
  put("change", change(wearer));
  showBeat(wearer);
}

function showBeat(wearer) {
  const points = page.beat.draw(wearer);
  showGates($("gates"), gates(wearer, page.gates));
  const beat = wearer.usable;
  put("slope", points ? `dP/dt max ${whole(points.slope)} mmHg/s` : "");
  put("beat-words", points
    ? `○ foot △ systole ${points.notch === null ? "" : "◇ notch "}□ end · pulse pressure ${whole(beat.sbp - beat.dbp)} mmHg · dashed: median of 30`
    : "");
}

function title(wearer, now) {
  const beat = wearer.usable;
  return wearer.current(now) ? `${whole(beat.sbp)}/${whole(beat.dbp)} ${wearer.device}` : `—/— ${wearer.device}`;
}

function frame(time) {
  requestAnimationFrame(frame);
  const now = time / 1000, dt = now - before;
  before = now;
  for (const wearer of page.wearers.values()) {
    wearer.playhead.step(dt);
    if (page.wall) page.wallOfTiles.draw(wearer, now);
  }
  if (page.shown && !page.wall) drawSingle(page.shown);
  page.frames++;
  if (now - written > 0.1) {
    page.rate = Math.round((page.frames - counted) / (now - written) / 5) * 5;
    counted = page.frames;
    written = now;
    write(now);
  }
  page.connection.ask(time);
}

page.landmarks = landmarks;
requestAnimationFrame(frame);
