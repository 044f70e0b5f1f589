// Words and figures of the page. Everything from outside is shown as text.

export const REASONS = {
  low_quality: "poor signal", motion: "moving", not_worn: "not worn", flat: "no pulse",
  clipped: "signal clipped", gap: "signal lost", implausible: "implausible values",
  uncalibrated: "no cuff reading", rate: "rate too low", irregular: "irregular rhythm",
  overload: "computer too slow", ectopic: "ectopic beats", slow: "slow rhythm", fast: "fast rhythm",
};

export const reason = (beat) => (beat.reasons || []).map((name) => REASONS[name] || name).join(", ");

export const number = (value) => (typeof value === "number" && isFinite(value) ? value : null);

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
    case "gap": return detail.why === "a recording begins" ? null : `gap: ${detail.why ?? "samples missing"}`;
    case "cuff": return cuffText(detail);
    case "connected": return `connected: ${detail.model ?? "sensor"}`;
    case "disconnected": return `disconnected: ${detail.why ?? ""}`;
    case "marker": return `mark: ${detail.text}`;
    case "notice": return String(detail.text ?? "");
    case "wear": return detail.worn ? "worn" : "not worn";
    case "alarm": return `alarm event: ${detail.text ?? detail.kind ?? ""}`;
    default: return null;
  }
}

export function cuffText(detail) {
  const check = detail.check;
  const off = check ? `; ours was off by ${signed(check.sbp)}/${signed(check.dbp)}` : "";
  return `cuff ${whole(detail.sbp)}/${whole(detail.dbp)}${off}`;
}
