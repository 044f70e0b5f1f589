// Last beat over the median of the last 30, with its PPG and its points.

import { Plot } from "./canvas.js";

const POINTS = 120; // of the median, from the foot on

export class BeatPlot extends Plot {
  constructor(host) {
    super(host);
    this.resize();
  }

  repaint() {
    if (this.wearer) this.draw(this.wearer);
  }

  draw(wearer) {
    this.wearer = wearer;
    const { layer } = this;
    this.clear();
    const beat = wearer.usable;
    if (!beat?.abp.samples?.length) return null;
    const { samples, rate, t } = beat.abp;
    const middle = median(wearer.beats.filter((one) => one.valid && one.abp.samples?.length).slice(-30));
    const length = Math.max(samples.length, middle.length);
    let low = Infinity, high = -Infinity;
    for (const value of [...samples, ...middle]) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const x = (k) => 8 + (k / length) * (this.w - 16);
    const y = (v) => this.h - 16 - ((v - low) / (high - low || 1)) * (this.h - 34);
    this.pulse(wearer.traces.ppg, t, length / rate, (time) => x((time - t) * rate));
    this.curve(middle, x, y, "dim", 1.2, [4, 3]);
    this.curve(samples, x, y, "abp", 2, []);
    const points = landmarks(samples, rate);
    layer.strokeStyle = this.paint("text");
    layer.lineWidth = 1.4;
    this.shape("circle", x(0), y(samples[0]));
    this.shape("triangle", x(points.systole), y(samples[points.systole]));
    if (points.notch !== null) this.shape("diamond", x(points.notch), y(samples[points.notch]));
    this.shape("square", x(samples.length - 1), y(samples.at(-1)));
    return points;
  }

  curve(samples, x, y, name, width, dash) {
    const { layer } = this;
    layer.strokeStyle = this.paint(name);
    layer.lineWidth = width;
    layer.setLineDash(dash);
    layer.beginPath();
    samples.forEach((value, k) => layer.lineTo(x(k), y(value)));
    layer.stroke();
    layer.setLineDash([]);
  }

  pulse(trace, from, length, x) {
    const points = [];
    trace.each(from, from + length, (time, value) => points.push([time, value]));
    if (!points.length) return;
    const values = points.map((one) => one[1]).filter((value) => !isNaN(value));
    const low = Math.min(...values), high = Math.max(...values);
    const { layer } = this;
    layer.strokeStyle = this.paint("ppg");
    layer.globalAlpha = 0.55;
    layer.lineWidth = 1.2;
    layer.beginPath();
    for (const [time, value] of points) {
      layer.lineTo(x(time), this.h - 16 - ((value - low) / (high - low || 1)) * (this.h - 34));
    }
    layer.stroke();
    layer.globalAlpha = 1;
  }

  shape(name, x, y) {
    const { layer } = this;
    layer.beginPath();
    if (name === "circle") layer.arc(x, y, 4, 0, 7);
    else {
      const corners = {
        triangle: [[0, -10], [5, -2], [-5, -2]], diamond: [[0, -5], [5, 0], [0, 5], [-5, 0]],
        square: [[-4, -4], [4, -4], [4, 4], [-4, 4]],
      }[name];
      for (const [dx, dy] of corners) layer.lineTo(x + dx, y + dy);
      layer.closePath();
    }
    layer.stroke();
  }
}

// Median of beats, sample by sample from the foot on, as long as half of them last.
function median(beats) {
  const found = [];
  for (let k = 0; k < POINTS * 3; k++) {
    const values = beats.map((beat) => beat.abp.samples[k]).filter((value) => value !== undefined && !isNaN(value));
    if (values.length * 2 < beats.length || !values.length) break;
    values.sort((a, b) => a - b);
    found.push(values[values.length >> 1]);
  }
  return found;
}

// Systole, dicrotic notch (null without one) and steepest rise of a beat, foot to foot.
export function landmarks(samples, rate) {
  let systole = 0, slope = 0, notch = null;
  for (let k = 1; k < samples.length; k++) {
    if (samples[k] > samples[systole] && k < 0.5 * rate) systole = k;
  }
  for (let k = 1; k <= systole; k++) slope = Math.max(slope, (samples[k] - samples[k - 1]) * rate);
  const smooth = (k) => {
    const part = samples.slice(Math.max(0, k - 4), k + 5);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  };
  for (let k = systole + Math.round(0.1 * rate); k < Math.min(samples.length - 8, systole + 0.4 * rate); k++) {
    if (smooth(k) <= smooth(k - 1) && smooth(k) < smooth(k + 4)) {
      notch = k;
      break;
    }
  }
  return { systole, notch, slope };
}
