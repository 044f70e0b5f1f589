// Trend of the pressures with their intervals, cuff readings, markers and time without a usable beat.

import { Plot } from "./canvas.js";
import { number, signed, taken } from "./words.js";

const LENGTH = { "15 min": 900, "1 h": 3600, "8 h": 28800, all: Infinity };
const LEVEL = { "15 min": "15 min", "1 h": "1 h", "8 h": "all", all: "all" };
const LEFT = 40, RIGHT = 44, BELOW = 20;

export class TrendPlot extends Plot {
  constructor(host) {
    super(host);
    this.name = "15 min";
    this.target = null; // {name, low, high} in mmHg
    this.resize();
  }

  repaint() {
    if (this.wearer) this.draw(this.wearer);
  }

  draw(wearer) {
    this.wearer = wearer;
    const { rows, step, begin, end } = this.visible(wearer);
    this.clear();
    if (isNaN(end)) return;
    const shown = [...rows];
    const newest = wearer.usable;
    if (newest && newest.t > (shown.at(-1)?.[0] ?? -Infinity)) shown.push(row(newest));
    this.scale(shown, wearer, begin, end);
    this.grid(begin, end);
    this.outlineTarget();
    this.rejected(shown, step);
    for (const [k, dash, width] of [[1, [], 1.8], [2, [5, 4], 1.4], [3, [], 1.8]]) {
      this.band(shown, 2 + 2 * k, step);
      this.line(shown, k, dash, width, step);
    }
    this.events(wearer, begin, end);
  }

  // Rows of the chosen length, s a row, and the times at both edges.
  visible(wearer) {
    const { rows = [], step = 4 } = wearer.trend[LEVEL[this.name]] ?? {};
    const end = wearer.newest?.t ?? rows.at(-1)?.[0] ?? NaN;
    const first = Math.min(rows[0]?.[0] ?? end, end - 120); // a young trend fills the plot
    const begin = Math.max(end - LENGTH[this.name], first);
    return { rows: rows.filter((row) => row[0] >= begin), step, begin, end };
  }

  outlineTarget() {
    if (!this.target) return;
    const { layer } = this, { name, low, high } = this.target;
    layer.strokeStyle = this.paint("text");
    layer.lineWidth = 1;
    layer.setLineDash([2, 4]);
    layer.strokeRect(LEFT, this.y(high), this.w - LEFT - RIGHT, this.y(low) - this.y(high));
    layer.setLineDash([]);
    this.write(layer, "text");
    layer.fillText(`target ${name.toUpperCase()}`, LEFT + 4, this.y(high) + 9);
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
      if (event.event === "cuff" && taken(event) >= begin) [event.detail.sbp, event.detail.dbp].forEach(take);
    }
    if (this.target) [this.target.low, this.target.high].forEach(take);
    const w = this.w - LEFT - RIGHT, h = this.h - BELOW;
    this.x = (t) => LEFT + ((t - begin) / (end - begin)) * w;
    this.y = (v) => h - ((v - low) / (high - low)) * h;
    Object.assign(this, { low, high });
  }

  grid(begin, end) {
    const { layer } = this;
    layer.strokeStyle = this.paint("grid");
    layer.lineWidth = 1;
    layer.beginPath();
    const every = (20 * (this.h - BELOW)) / (this.high - this.low) < 20 ? 40 : 20;
    this.write(layer, "dim", "right");
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
    this.write(layer, "dim");
    layer.fillText(["", "SBP", "MAP", "DBP"][k], this.w - RIGHT + 8, this.y(last[k]));
  }

  rejected(rows, step) {
    for (const one of rows) {
      if (number(one[1]) !== null) continue;
      const x = this.x(one[0] - step / 2);
      this.hatch(this.layer, x, Math.max(2, this.x(one[0] + step / 2) - x), this.h - BELOW);
    }
  }

  events(wearer, begin, end) {
    const { layer } = this;
    for (const event of wearer.events) {
      const t = event.event === "cuff" ? taken(event) : event.t;
      if (!(t >= begin && t <= end)) continue;
      const x = this.x(t);
      if (event.event === "cuff") this.cuff(event, x);
      else if (event.event === "marker") {
        this.upright(layer, x, this.h - BELOW, "text", 1.2, [3, 3]);
        this.write(layer, "text");
        layer.fillText(String(event.detail.text).slice(0, 24), x + 4, 9);
      }
    }
  }

  // A reading as a bar from DBP to SBP; one that was withdrawn as an empty, grey one.
  cuff({ detail, withdrawn }, x) {
    const { layer } = this;
    const top = this.y(detail.sbp), bottom = this.y(detail.dbp);
    if (withdrawn) {
      layer.strokeStyle = this.paint("dim");
      layer.lineWidth = 1;
      layer.setLineDash([3, 2]);
      layer.strokeRect(x - 4, top, 8, bottom - top);
      layer.setLineDash([]);
    } else {
      layer.fillStyle = this.paint("cuff");
      layer.fillRect(x - 3, top, 6, bottom - top);
      layer.fillRect(x - 7, top - 1, 14, 3);
      layer.fillRect(x - 7, bottom - 2, 14, 3);
    }
    const right = x < this.w - RIGHT - 130;
    this.write(layer, withdrawn ? "dim" : "cuff", right ? "left" : "right");
    const text = `${detail.sbp}/${detail.dbp}${withdrawn ? " withdrawn" : ""}`;
    layer.fillText(text, right ? x + 11 : x - 11, Math.max(8, top));
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
