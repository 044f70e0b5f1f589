// A target band on the trend, chosen by the viewer, and the time in it.

import { number } from "./words.js";

const $ = (id) => document.getElementById(id);
const KEY = "innpar-target";
const COLUMN = { sbp: 1, map: 2, dbp: 3 }; // of a trend's row
const LIMITS = { sbp: 4, map: 6, dbp: 8 };

export class Target {
  constructor(page) {
    this.page = page;
    this.value = this.stored();
    if (this.value) {
      for (const name of ["name", "low", "high"]) $(`target-${name}`).value = this.value[name];
    }
    $("target-form").onsubmit = (event) => {
      event.preventDefault();
      this.set();
    };
    $("target-none").onclick = () => this.set(null);
  }

  stored() {
    try {
      const { name, low, high } = JSON.parse(localStorage.getItem(KEY));
      return COLUMN[name] && low < high ? { name, low, high } : null;
    } catch {
      return null; // none, or of another version
    }
  }

  set(value = { name: $("target-name").value, low: Number($("target-low").value), high: Number($("target-high").value) }) {
    if (value && !(value.low < value.high)) {
      $("target-high").setCustomValidity("The upper limit lies above the lower one.");
      $("target-high").reportValidity();
      $("target-high").setCustomValidity("");
      return;
    }
    this.value = value;
    if (value) localStorage.setItem(KEY, JSON.stringify(value));
    else localStorage.removeItem(KEY);
    $("target-menu").open = false;
    this.page.repaint();
    this.page.written = null;
  }

  // Share of the rows in the band, and of those whose whole interval is in it, in words.
  text(rows, step) {
    if (!this.value) return "";
    const { name, low, high } = this.value;
    const known = rows.filter((row) => number(row[COLUMN[name]]) !== null);
    if (!known.length) return "";
    const inside = (value) => number(value) !== null && value >= low && value <= high;
    const share = (count) => `${Math.round((100 * count) / known.length)} %`;
    const held = known.filter((row) => inside(row[COLUMN[name]]));
    const sure = held.filter((row) => inside(row[LIMITS[name]]) && inside(row[LIMITS[name] + 1]));
    const minutes = (known.length * step) / 60;
    const length = minutes < 2 ? `${Math.round(60 * minutes)} s` : `${Math.round(minutes)} min`;
    return `${name.toUpperCase()} in ${low}–${high}: ${share(held.length)} of ${length}, with its whole interval ${share(sure.length)}`;
  }
}
