// Words and figures of the page. Everything from outside is shown as text.

export const REASONS = {
  low_quality: "poor signal", motion: "moving", not_worn: "not worn", flat: "no pulse",
  clipped: "signal clipped", gap: "signal lost", implausible: "implausible values",
  uncalibrated: "no cuff reading", rate: "rate too low", irregular: "irregular rhythm",
  overload: "computer too slow", ectopic: "ectopic beats", slow: "slow rhythm", fast: "fast rhythm",
};

export const reason = (beat) => (beat.reasons || []).map((name) => REASONS[name] || name).join(", ");

export const number = (value) => (typeof value === "number" && isFinite(value) ? value : null);

// Middle of the known values; null without any.
export function median(values) {
  const known = values.filter((value) => number(value) !== null).sort((a, b) => a - b);
  const k = known.length >> 1;
  return known.length ? (known.length % 2 ? known[k] : (known[k - 1] + known[k]) / 2) : null;
}

export const whole = (value) => (number(value) === null ? "—" : value.toFixed(0));

export const signed = (value) => {
  const rounded = Math.round(value);
  return rounded < 0 ? `−${-rounded}` : `+${rounded}`;
};

export function range(pair) {
  return Array.isArray(pair) ? `${whole(pair[0])}–${whole(pair[1])}` : "";
}

export function ago(seconds) {
  if (seconds < 90) return `${Math.max(0, seconds).toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const clock = (t) => new Date(t * 1000).toTimeString().slice(0, 8);

// Text of an event; null for one of no interest to a viewer.
export function eventText(event) {
  const detail = event.detail || {};
  switch (event.event) {
    case "gap": return gapText(event, detail);
    case "cuff": return cuffText(event);
    case "cuff_undone": return `cuff reading ${whole(detail.sbp)}/${whole(detail.dbp)} withdrawn`;
    case "posture": return `sensor at ${signed(number(detail.wrist_height) ?? 0)} cm from heart height`;
    case "connected": return `connected: ${detail.model ?? "sensor"}`;
    case "disconnected": return `disconnected: ${detail.why ?? ""}`;
    case "marker": return `mark: ${detail.text}`;
    case "notice": return String(detail.text ?? "");
    case "wear": return detail.worn ? "worn" : "not worn";
    case "alarm": return alarmText(detail);
    default: return null;
  }
}

function gapText(event, detail) {
  if ((detail.signal ?? "ppg") !== "ppg" || detail.why === "a recording begins") return null;
  const length = number(event.end - event.t);
  return `gap${length > 0 ? ` of ${length.toFixed(1)} s` : ""}: ${detail.why ?? "samples missing"}`;
}

// An event of a rule that the run was given; the page raises no alarms of its own.
function alarmText({ state, rule, evidence, why }) {
  if (state !== "on") return `alarm event ${state ?? ""}: ${rule ?? ""}${why ? `, ${why}` : ""} (research only)`;
  const median = number(evidence?.median), interval = range(evidence?.interval);
  const seen = median === null ? "" : `, median ${whole(median)}${interval ? ` (${interval})` : ""}`;
  return `alarm event on: ${rule ?? ""}${seen} (research only)`;
}

export function cuffText({ detail, withdrawn }) {
  if (withdrawn) return `cuff ${whole(detail.sbp)}/${whole(detail.dbp)}, withdrawn`;
  const { check, remembered } = detail;
  const kept = remembered ? `, kept from ${ago(number(remembered.age_s) ?? NaN)} before` : "";
  const off = check ? `, ours off by ${signed(check.sbp)}/${signed(check.dbp)}` : "";
  return `cuff ${whole(detail.sbp)}/${whole(detail.dbp)}${kept}${off}`;
}

// Time at which a reading was taken, s since the Unix epoch; a kept one is older than its event.
export const taken = ({ t, detail }) => t - (number(detail.remembered?.age_s) ?? 0);

// Mark the newest reading in force with the pressures that a withdrawal names.
export function withdraw(events, undone) {
  const alike = events.filter((one) => one.event === "cuff" && !one.withdrawn
    && one.detail.sbp === undone.detail.sbp && one.detail.dbp === undone.detail.dbp);
  const newest = Math.max(...alike.map(taken));
  for (const one of alike) if (newest - taken(one) <= 0.001) one.withdrawn = true;
}

// Wider side of a pressure's interval, mmHg, as ±N; ±? without one.
export function wider(beat, name) {
  const value = number(beat[name]), limits = beat.interval?.[name];
  const sides = Array.isArray(limits) ? limits.map((limit) => Math.abs(value - (number(limit) ?? NaN))) : [];
  const width = value === null || sides.length !== 2 ? NaN : Math.max(...sides);
  return isFinite(width) ? `±${width.toFixed(0)}` : "±?";
}
