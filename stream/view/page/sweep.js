// One waveform, drawn by hand: grid and figures, trace, and marks each on a canvas of their own.

import { Plot } from "./canvas.js";
import { cuffText, taken } from "./words.js";

const GUTTER = 40; // px on the left for figures
const BAR = 0.035; // width of the erase bar, as a part of the sweep

export class Sweep extends Plot {
  constructor(host, { kind, colour, range, limits, step, figures = true }) {
    super(host, { layers: 3, gutter: figures ? GUTTER : 0 });
    Object.assign(this, { kind, colour, limits, step, figures });
    this.start = range;
    this.range = [...range];
    this.span = 8; // s
    this.mode = "sweep";
    this.drawn = NaN; // head that is on the canvas
    this.resize();
  }

  // Draw everything again: another size, theme, scale or wearer.
  repaint() {
    this.ink = this.paint(this.colour);
    this.drawn = NaN;
    this.drawGrid();
  }

  reset() {
    this.range = [...this.start];
    this.repaint();
  }

  x(t, head = this.drawn) {
    if (this.mode === "sweep") return ((t % this.span) / this.span) * this.w;
    return ((t - head) / this.span + 1) * this.w;
  }

  y(value) {
    const [low, high] = this.range;
    return this.h - ((value - low) / (high - low)) * this.h;
  }

  // Widen the scale in steps until it holds the samples; it never narrows by itself.
  fit(samples) {
    let [low, high] = this.range;
    for (const value of samples) {
      while (value > high && high < this.limits[1]) high += this.step;
      while (value < low && low > this.limits[0]) low -= this.step;
    }
    if (low !== this.range[0] || high !== this.range[1]) {
      this.range = [low, high];
      this.repaint();
    }
  }

  drawGrid() {
    const [layer] = this.layers;
    this.clear(layer);
    layer.strokeStyle = this.paint("grid");
    layer.lineWidth = 1;
    layer.beginPath();
    const seconds = this.span > 16 ? 5 : 1;
    for (let s = 0; s <= this.span; s += seconds) {
      const x = Math.round((s / this.span) * this.w) + 0.5;
      layer.moveTo(x, 0);
      layer.lineTo(x, this.h);
    }
    const figures = [];
    if (this.kind === "abp") {
      const every = (20 * this.h) / (this.range[1] - this.range[0]) < 22 ? 40 : 20;
      for (let v = Math.ceil(this.range[0] / every) * every; v <= this.range[1]; v += every) {
        const y = Math.round(this.y(v)) + 0.5;
        layer.moveTo(0, y);
        layer.lineTo(this.w, y);
        figures.push([v, y]);
      }
    }
    layer.stroke();
    if (!this.figures) return;
    this.write(layer, "dim", "right");
    for (const [v, y] of figures) layer.fillText(String(v), -8, Math.min(this.h - 7, Math.max(7, y)));
  }

  // Draw up to `head`, s of signal; only what is new where that is possible.
  advance(trace, head) {
    if (isNaN(head) || head === this.drawn) return;
    const [, layer] = this.layers;
    const bar = BAR * this.span;
    const whole = this.mode !== "sweep" || !(head >= this.drawn) || head - this.drawn > this.span / 2;
    const from = whole ? head - this.span + bar : this.drawn;
    if (whole) layer.clearRect(-1, 0, this.w + 2, this.h);
    else this.erase(layer, this.drawn + bar, head + bar);
    this.drawn = head;
    this.line(layer, trace, whole ? from : from - 1.5 / 125, head);
  }

  erase(layer, from, to) {
    const a = this.x(from) - 2, b = this.x(to); // 2 px: the round end of a line
    if (b >= a) layer.clearRect(a, 0, b - a + 1, this.h);
    else {
      layer.clearRect(a, 0, this.w - a + 2, this.h);
      layer.clearRect(-1, 0, b + 1.5, this.h);
    }
  }

  line(layer, trace, from, to) {
    layer.strokeStyle = this.ink;
    layer.lineWidth = 1.8;
    layer.lineJoin = layer.lineCap = "round";
    layer.beginPath();
    let last = Infinity;
    trace.each(from, to, (t, value, gap) => {
      const x = this.x(t), y = this.y(value);
      if (isNaN(y)) last = Infinity;
      else {
        if (gap || x < last) layer.moveTo(x, y);
        else layer.lineTo(x, y);
        last = x;
      }
    });
    layer.stroke();
  }

  // Draw hatching, feet, systoles, true values and markers of the visible stretch.
  annotate(wearer, reason) {
    const layer = this.layers[2];
    this.clear(layer);
    if (isNaN(this.drawn)) return;
    const to = this.drawn, from = to - this.span * (1 - BAR);
    layer.save();
    layer.beginPath();
    layer.rect(0, 0, this.w, this.h);
    layer.clip();
    for (const span of wearer.rejected(from, to, reason)) this.rejected(layer, span, from, to);
    if (this.kind === "abp") this.beats(layer, wearer, from, to);
    this.markers(layer, wearer, from, to);
    layer.restore();
  }

  rejected(layer, span, from, to) {
    let a = Math.max(from, span.from);
    const b = Math.min(to, span.to);
    while (a < b) {
      const edge = this.mode === "sweep" ? (Math.floor(a / this.span + 1e-9) + 1) * this.span : Infinity;
      const c = Math.min(b, edge), x = this.x(a), w = ((c - a) / this.span) * this.w;
      this.hatch(layer, x, w, this.h);
      if (w > 60) this.label(layer, span.why || "no usable beat", x + 6, 14, "text");
      a = c + 1e-6;
    }
  }

  beats(layer, wearer, from, to) {
    for (let i = wearer.beats.length - 1; i >= 0; i--) {
      const beat = wearer.beats[i];
      if (beat.t < from - 2) break;
      if (beat.reference) this.truth(layer, beat, from, to);
      if (!beat.valid || !beat.abp.samples) continue;
      layer.strokeStyle = this.paint("text");
      layer.lineWidth = 1.2;
      layer.beginPath();
      const foot = beat.abp.t;
      if (foot > from && foot <= to) layer.arc(this.x(foot), this.y(beat.abp.samples[0]), 2.6, 0, 7);
      if (beat.t > from && beat.t <= to) {
        const x = this.x(beat.t), y = this.y(beat.sbp) - 7;
        layer.moveTo(x, y - 4);
        layer.lineTo(x + 4, y + 2);
        layer.lineTo(x - 4, y + 2);
        layer.closePath();
      }
      layer.stroke();
    }
  }

  truth(layer, beat, from, to) {
    layer.strokeStyle = this.paint("true");
    layer.lineWidth = 1;
    layer.beginPath();
    for (const [t, value] of [[beat.t, beat.reference.sbp], [beat.abp.t ?? beat.t, beat.reference.dbp]]) {
      if (t - 0.15 <= from || t + 0.15 > to) continue;
      const x = this.x(t), half = (0.15 / this.span) * this.w, y = this.y(value);
      layer.moveTo(x - half, y);
      layer.lineTo(x + half, y);
    }
    layer.stroke();
  }

  markers(layer, wearer, from, to) {
    for (const event of wearer.events) {
      const cuff = event.event === "cuff", t = cuff ? taken(event) : event.t;
      if (!(cuff || event.event === "marker") || t <= from || t > to) continue;
      const x = this.x(t), name = cuff ? (event.withdrawn ? "dim" : "cuff") : "text";
      const solid = cuff && !event.withdrawn;
      this.upright(layer, x, this.h, name, solid ? 3 : 1.2, solid ? [] : [4, 3]);
      const text = cuff ? cuffText(event) : String(event.detail.text);
      this.label(layer, text.slice(0, 40), x + 5, this.h - 8, name);
    }
  }

  label(layer, text, x, y, name) {
    this.write(layer, name);
    const width = layer.measureText(text).width;
    const left = Math.max(2, Math.min(x, this.w - width - 4));
    layer.fillStyle = this.paint("panel");
    layer.globalAlpha = 0.85;
    layer.fillRect(left - 3, y - 9, width + 6, 18);
    layer.globalAlpha = 1;
    layer.fillStyle = this.paint(name);
    layer.fillText(text, left, y);
  }
}
