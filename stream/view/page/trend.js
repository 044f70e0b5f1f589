// Trend of the pressures with their intervals, cuff readings, markers and time without a usable beat.

import { number, signed } from "./words.js";

const LENGTH = { "15 min": 900, "1 h": 3600, "8 h": 28800, all: Infinity };
const LEVEL = { "15 min": "15 min", "1 h": "1 h", "8 h": "all", all: "all" };
const LEFT = 40, RIGHT = 44, BELOW = 20;

export class TrendPlot {
  constructor(host) {
    this.host = host;
    this.name = "15 min";
    const canvas = document.createElement("canvas");
    host.append(canvas);
    this.layer = canvas.getContext("2d");
    new ResizeObserver(() => this.resize()).observe(host);
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.w = this.host.clientWidth;
    this.h = this.host.clientHeight;
    this.layer.canvas.width = Math.round(this.w * ratio);
    this.layer.canvas.height = Math.round(this.h * ratio);
    this.layer.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.wearer) this.draw(this.wearer);
  }

  draw(wearer) {
    this.wearer = wearer;
    const style = getComputedStyle(document.documentElement);
    this.paint = (name) => style.getPropertyValue(`--${name}`).trim();
    const level = wearer.trend[LEVEL[this.name]];
    const rows = level?.rows ?? [];
    const end = wearer.newest?.t ?? rows.at(-1)?.[0] ?? NaN;
    this.layer.clearRect(0, 0, this.w, this.h);
    if (isNaN(end)) return;
    const wanted = LENGTH[this.name];
    const first = Math.min(rows[0]?.[0] ?? end, end - 120); // a young trend fills the plot
    const begin = Math.max(end - wanted, first);
    const shown = rows.filter((row) => row[0] >= begin);
    const newest = wearer.usable;
    if (newest && newest.t > (shown.at(-1)?.[0] ?? -Infinity)) shown.push(row(newest));
    const step = level?.step ?? 4;
    this.scale(shown, wearer, begin, end);
    this.grid(begin, end);
    this.rejected(shown, step);
    for (const [k, dash, width] of [[1, [], 1.8], [2, [5, 4], 1.4], [3, [], 1.8]]) {
      this.band(shown, 2 + 2 * k, step);
      this.line(shown, k, dash, width, step);
    }
    this.events(wearer, begin, end);
  }

  scale(rows, wearer, begin, end) {
    let low = 60, high = 140;
    const take = (value) => {
      if (number(value) === null) return;
      while (value > high - 4 && high < 300) high += 20;
      while (value < low + 4 && low > 0) low -= 20;
    };
    for (const one of rows) one.slice(1).forEach(take);
    for (const event of wearer.events) {
      if (event.event === "cuff" && event.t >= begin) [event.detail.sbp, event.detail.dbp].forEach(take);
    }
    const w = this.w - LEFT - RIGHT, h = this.h - BELOW;
    this.x = (t) => LEFT + ((t - begin) / (end - begin)) * w;
    this.y = (v) => h - ((v - low) / (high - low)) * h;
    Object.assign(this, { low, high });
  }

  grid(begin, end) {
    const { layer } = this;
    layer.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    layer.strokeStyle = this.paint("grid");
    layer.fillStyle = this.paint("dim");
    layer.lineWidth = 1;
    layer.textBaseline = "middle";
    layer.beginPath();
    const every = (20 * (this.h - BELOW)) / (this.high - this.low) < 20 ? 40 : 20;
    layer.textAlign = "right";
    for (let v = Math.ceil(this.low / every) * every; v <= this.high; v += every) {
      const y = Math.round(this.y(v)) + 0.5;
      layer.moveTo(LEFT, y);
      layer.lineTo(this.w - RIGHT, y);
      layer.fillText(String(v), LEFT - 8, Math.min(this.h - BELOW - 6, Math.max(7, y)));
    }
    const length = end - begin;
    const fits = Math.max(2, Math.floor((this.w - LEFT - RIGHT) / 90));
    const tick = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400].find((one) => length / one <= fits) ?? 28800;
    layer.textAlign = "center";
    for (let k = 0; k * tick <= length; k++) {
      const x = Math.round(this.x(end - k * tick)) + 0.5;
      layer.moveTo(x, 0);
      layer.lineTo(x, this.h - BELOW);
      layer.fillText(k === 0 ? "now" : `−${label(k * tick)}`, Math.max(LEFT, x), this.h - BELOW / 2 + 2);
    }
    layer.stroke();
  }

  // Call draw(stretch) for every run of rows that follow one another without a hole.
  stretches(rows, k, step, draw) {
    let stretch = [];
    for (const one of rows) {
      const hole = stretch.length && one[0] - stretch.at(-1)[0] > 2.5 * step;
      if (hole || number(one[k]) === null) {
        if (stretch.length) draw(stretch);
        stretch = [];
      }
      if (number(one[k]) !== null) stretch.push(one);
    }
    if (stretch.length) draw(stretch);
  }

  band(rows, k, step) {
    const { layer } = this;
    layer.fillStyle = `rgba(${this.paint("band")}, 0.11)`;
    this.stretches(rows, k, step, (stretch) => {
      layer.beginPath();
      for (const one of stretch) layer.lineTo(this.x(one[0]), this.y(one[k + 1]));
      for (const one of [...stretch].reverse()) layer.lineTo(this.x(one[0]), this.y(one[k]));
      layer.fill();
    });
  }

  line(rows, k, dash, width, step) {
    const { layer } = this;
    layer.strokeStyle = this.paint("abp");
    layer.lineWidth = width;
    layer.setLineDash(dash);
    this.stretches(rows, k, step, (stretch) => {
      layer.beginPath();
      for (const one of stretch) layer.lineTo(this.x(one[0]), this.y(one[k]));
      if (stretch.length === 1) layer.lineTo(this.x(stretch[0][0]) + 2, this.y(stretch[0][k]));
      layer.stroke();
    });
    layer.setLineDash([]);
    const last = [...rows].reverse().find((one) => number(one[k]) !== null);
    if (!last) return;
    layer.fillStyle = this.paint("dim");
    layer.textAlign = "left";
    layer.fillText(["", "SBP", "MAP", "DBP"][k], this.w - RIGHT + 8, this.y(last[k]));
  }

  rejected(rows, step) {
    const { layer } = this;
    layer.strokeStyle = this.paint("hatch");
    layer.lineWidth = 1;
    for (const one of rows) {
      if (number(one[1]) !== null) continue;
      const a = this.x(one[0] - step / 2), w = Math.max(2, this.x(one[0] + step / 2) - a), h = this.h - BELOW;
      layer.save();
      layer.beginPath();
      layer.rect(a, 0, w, h);
      layer.clip();
      layer.globalAlpha = 0.55;
      layer.beginPath();
      for (let x = Math.floor((a - h) / 8) * 8; x < a + w; x += 8) {
        layer.moveTo(x, h);
        layer.lineTo(x + h, 0);
      }
      layer.stroke();
      layer.restore();
    }
  }

  events(wearer, begin, end) {
    const { layer } = this;
    for (const event of wearer.events) {
      if (event.t < begin || event.t > end) continue;
      const x = this.x(event.t);
      if (event.event === "cuff") {
        const top = this.y(event.detail.sbp), bottom = this.y(event.detail.dbp);
        layer.fillStyle = this.paint("cuff");
        layer.fillRect(x - 3, top, 6, bottom - top);
        layer.fillRect(x - 7, top - 1, 14, 3);
        layer.fillRect(x - 7, bottom - 2, 14, 3);
        const right = x < this.w - RIGHT - 70;
        layer.textAlign = right ? "left" : "right";
        layer.fillText(`${event.detail.sbp}/${event.detail.dbp}`, right ? x + 11 : x - 11, Math.max(8, top));
      } else if (event.event === "marker") {
        layer.strokeStyle = layer.fillStyle = this.paint("text");
        layer.setLineDash([3, 3]);
        layer.beginPath();
        layer.moveTo(x, 0);
        layer.lineTo(x, this.h - BELOW);
        layer.stroke();
        layer.setLineDash([]);
        layer.textAlign = "left";
        layer.fillText(String(event.detail.text).slice(0, 24), x + 4, 9);
      }
    }
  }
}

const row = (beat) => [
  beat.t, beat.sbp, beat.map, beat.dbp,
  ...["sbp", "map", "dbp"].flatMap((name) => beat.interval?.[name] ?? [null, null]),
];

function label(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds % 60) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return seconds < 3600 ? `${+(seconds / 60).toFixed(1)} min` : `${+(seconds / 3600).toFixed(1)} h`;
}

// Change over the last 5 and 15 minutes, mmHg, in words; empty before 5 minutes have passed.
export function change(wearer) {
  const rows = (wearer.trend["15 min"]?.rows ?? []).filter((one) => number(one[1]) !== null);
  const last = rows.at(-1);
  if (!last) return "";
  const mean = (from, to, k) => {
    const values = rows.filter((one) => one[0] > from && one[0] <= to).map((one) => one[k]);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : NaN;
  };
  const words = [];
  for (const minutes of [5, 15]) {
    const then = last[0] - minutes * 60 + (minutes === 15 ? 20 : 0);
    const parts = [1, 3].map((k) => mean(last[0] - 20, last[0], k) - mean(then - 20, then + 10, k));
    if (parts.every(isFinite)) words.push(`${minutes} min ${signed(parts[0])}/${signed(parts[1])}`);
  }
  return words.length ? `change in ${words.join(", in ")} mmHg` : "";
}
