// What a beat's pressures had to pass: each value with its limit.

import { number, REASONS } from "./words.js";

const NAMES = {
  quality: "signal quality", hr: "heart rate, /min", sbp: "SBP", dbp: "DBP", map: "MAP",
  pp: "pulse pressure", step: "change from the beat before",
};
const RECENT = 5; // beats whose median is the heart rate that is judged

function values(wearer) {
  const beat = wearer.newest, before = wearer.beats.at(-2);
  const rates = wearer.beats.slice(-RECENT).map((one) => number(one.hr)).filter((one) => one !== null);
  rates.sort((a, b) => a - b);
  const follows = before?.seq === beat.seq - 1;
  const steps = ["sbp", "dbp"].map((name) => Math.abs(number(beat[name]) - number(before?.[name])));
  const known = beat.valid && number(beat.sbp) !== null && number(beat.dbp) !== null;
  return {
    ...beat,
    hr: rates.length ? rates[rates.length >> 1] : null,
    pp: known ? beat.sbp - beat.dbp : null,
    step: known && follows && before.valid ? Math.max(...steps) : null,
  };
}

// Rows {name, value, limit, passed}; passed is null where the value is not known.
export function gates(wearer, limits) {
  if (!wearer.newest || !limits) return [];
  const found = values(wearer), rows = [];
  for (const [name, [low, high]] of Object.entries(limits)) {
    const value = number(found[name]), digits = name === "quality" ? 2 : 0;
    const limit = low === null ? `≤ ${high}` : high === null ? `≥ ${low}` : `${low}–${high}`;
    const passed = value === null ? null : (low === null || value >= low) && (high === null || value <= high);
    rows.push({ name: NAMES[name] ?? name, value: value === null ? "—" : value.toFixed(digits), limit, passed });
  }
  for (const name of wearer.newest.reasons ?? []) {
    rows.push({ name: REASONS[name] ?? name, value: "", limit: "", passed: false });
  }
  return rows;
}

export function showGates(table, rows) {
  table.hidden = rows.length === 0;
  const words = (passed) => (passed === null ? "not known" : passed ? "✓ passed" : "✕ withheld");
  const lines = rows.map(({ name, value, limit, passed }) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    line.append(head, ...[value, limit, words(passed)].map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return line;
  });
  table.tBodies[0].replaceChildren(...lines);
}
