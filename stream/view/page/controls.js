// Buttons, keys and the cuff form.

import { put } from "./numbers.js";

const $ = (id) => document.getElementById(id);
const SPANS = [4, 8, 16, 30];
const LOOKING = "This page only looks on: open the address with ?token=… that the run printed.";

export class Controls {
  constructor(page) {
    this.page = page;
    const on = (id, action) => ($(id).onclick = action);
    on("pause", () => this.pause());
    on("mark", () => this.mark());
    on("record", () => this.record());
    on("wall", () => this.wall());
    on("mode", () => this.mode());
    on("theme", () => this.theme());
    on("help", () => $("keys").showModal());
    on("cuff-undo", () => this.calibrate({ undo: true }, "The last reading is withdrawn."));
    $("span").onchange = () => this.span(parseInt($("span").value, 10));
    $("cuff-form").onsubmit = (event) => this.cuff(event);
    for (const button of $("ranges").children) button.onclick = () => this.range(button);
    document.addEventListener("keydown", (event) => this.key(event));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    this.setTheme(localStorage.getItem("innpar-theme") ?? (dark ? "dark" : "light"));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const where = event.target;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(where.tagName) || $("keys").open) return;
    if (event.key === " " && /^(BUTTON|SUMMARY)$/.test(where.tagName)) return;
    const action = {
      p: () => this.pause(), m: () => this.mark(), " ": () => this.mark(), r: () => this.record(),
      w: () => this.wall(), s: () => this.mode(), t: () => this.theme(), c: () => $("cuff-sbp").focus(),
      "?": () => $("keys").showModal(), "+": () => this.zoom(-1), "-": () => this.zoom(1),
      ArrowLeft: () => this.back(-1), ArrowRight: () => this.back(1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  refresh() {
    const { page } = this;
    for (const id of ["mark", "record", "cuff-undo"]) this.allow($(id), page.commands);
    for (const element of $("cuff-form").elements) this.allow(element, page.commands);
    $("pause").disabled = page.wall;
    $("wall").setAttribute("aria-pressed", String(page.wall));
    $("record").setAttribute("aria-pressed", String(this.recording));
  }

  get recording() {
    return Boolean(this.page.run.recording?.[this.page.shown?.device]);
  }

  allow(element, allowed) {
    element.disabled = !allowed;
    element.title = allowed ? "" : LOOKING;
  }

  pause() {
    const { page } = this;
    if (page.wall || !page.shown) return;
    this.pauseAt(page.paused === null ? page.shown.playhead.head : null);
  }

  // Show the moment t, s; null to go on.
  pauseAt(t) {
    const { page } = this;
    if (t === page.paused) return;
    page.paused = t;
    $("pause").firstChild.textContent = page.paused === null ? "Pause " : "Go on ";
    $("pause").setAttribute("aria-pressed", String(page.paused !== null));
    for (const sweep of Object.values(page.sweeps)) sweep.repaint();
    this.applyMode();
  }

  back(direction) {
    const { page } = this;
    if (page.paused === null || !page.shown) return;
    const { chunks, end } = page.shown.traces.ppg;
    if (!chunks.length) return;
    const first = Math.min(chunks[0].t + page.sweeps.ppg.span, end);
    const step = page.sweeps.ppg.span / 4;
    page.paused = Math.max(first, Math.min(page.shown.playhead.head, page.paused + direction * step));
  }

  mode() {
    this.scrolling = !this.scrolling;
    $("mode").firstChild.textContent = this.scrolling ? "Sweep " : "Scroll ";
    this.applyMode();
  }

  // A paused page shows a still, whose right edge is the moment.
  applyMode() {
    const still = this.page.paused !== null || this.scrolling;
    for (const sweep of Object.values(this.page.sweeps)) {
      sweep.mode = still ? "scroll" : "sweep";
      sweep.repaint();
    }
  }

  zoom(direction) {
    const k = SPANS.indexOf(this.page.sweeps.ppg.span) + direction;
    if (k >= 0 && k < SPANS.length) this.span(SPANS[k]);
  }

  span(seconds) {
    $("span").value = `${seconds} s`;
    for (const sweep of Object.values(this.page.sweeps)) {
      sweep.span = seconds;
      sweep.repaint();
    }
  }

  range(button) {
    for (const one of $("ranges").children) one.setAttribute("aria-pressed", String(one === button));
    this.page.trend.name = button.textContent;
    if (this.page.shown) this.page.trend.draw(this.page.shown);
  }

  wall() {
    if (this.page.wall) this.page.show(this.page.shown?.device);
    else this.page.showWall();
  }

  theme() {
    this.setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    this.page.repaint();
  }

  setTheme(name) {
    document.documentElement.dataset.theme = name;
    localStorage.setItem("innpar-theme", name);
    if (this.page.shown) this.page.repaint();
  }

  async mark() {
    const wearer = this.page.shown;
    if (!wearer || !this.page.commands) return;
    const t = this.page.paused ?? wearer.playhead.head;
    const event = { event: "marker", t, end: t, detail: { text: "mark" }, pending: true };
    wearer.events.push(event);
    wearer.version++;
    const { ok, error } = await this.page.connection.command("mark", wearer.device, { text: "mark", time: t });
    if (ok) return;
    wearer.events = wearer.events.filter((one) => one !== event);
    this.say(`The mark was refused: ${error}`);
  }

  async record() {
    const wearer = this.page.shown;
    if (!wearer || !this.page.commands) return;
    const record = !this.recording;
    const { ok, error } = await this.page.connection.command("record", wearer.device, { record });
    if (!ok) this.say(`Recording: ${error}`);
  }

  cuff(event) {
    event.preventDefault();
    const sbp = Number($("cuff-sbp").value), dbp = Number($("cuff-dbp").value);
    const before = Number($("cuff-ago").value), end = this.page.shown?.traces.ppg.end;
    const body = before && end ? { sbp, dbp, time: end - before } : { sbp, dbp };
    this.calibrate(body, `${sbp}/${dbp} is in force from the next beats on.`);
  }

  async calibrate(body, done) {
    const wearer = this.page.shown;
    if (!wearer || !this.page.commands) return;
    const { ok, error, confirm } = await this.page.connection.command("calibrate", wearer.device, body);
    this.say(ok ? done : error);
    if (confirm && !body.confirm) this.reallyAsk(body, done);
    if (ok) $("cuff-form").reset();
  }

  // A reading far from ours is entered only once it has been confirmed.
  reallyAsk(body, done) {
    const beat = this.page.shown.usable;
    const ours = beat ? `ours says ${beat.sbp.toFixed(0)}/${beat.dbp.toFixed(0)}: ` : "";
    this.say(`${ours}really ${body.sbp}/${body.dbp}? `);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Yes, enter it";
    button.onclick = () => this.calibrate({ ...body, confirm: true }, done);
    $("cuff-answer").append(button);
    button.focus();
  }

  say(text) {
    put("cuff-answer", text);
  }
}
