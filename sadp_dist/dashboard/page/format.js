// Formats numbers for display. Unknown values are a dash.

const SPACE = "\u00a0"; // non-breaking
const DASH = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** 1281167 -> "1,281,167" */
export function count(value) {
  return known(value) ? whole.format(value) : DASH;
}

/** 1281167 -> "1.28M" */
export function compact(value) {
  return known(value) ? short.format(value) : DASH;
}

/** A number of any magnitude with `digits` significant digits. */
export function figure(value, digits = 3) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")}${SPACE}×${SPACE}10${superscript(Number(exponent))}`;
  }
  const formatted = new Intl.NumberFormat("en", {
    maximumSignificantDigits: Math.max(digits, Math.ceil(Math.log10(size + 1))),
  });
  return formatted.format(value).replace("-", "−");
}

/** 0.498 -> "49.8 %" */
export function percent(share, digits = 1) {
  return known(share) ? `${(100 * share).toFixed(digits)}${SPACE}%` : DASH;
}

/** 1048576 -> "1.05 MB" */
export function bytes(value) {
  if (!known(value)) return DASH;
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const step = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return `${Number((value / 1000 ** step).toPrecision(3))}${SPACE}${units[step]}`;
}

/** Seconds in a suitable unit: "4 ms", "12 s", "3 min", "5 h", "2 days". */
export function duration(seconds) {
  if (!known(seconds)) return DASH;
  if (seconds < 1) return `${Math.max(Math.round(seconds * 1000), 1)}${SPACE}ms`;
  for (const [unit, size] of [
    ["days", 86400],
    ["h", 3600],
    ["min", 60],
  ]) {
    if (seconds >= 2 * size) return `${whole.format(Math.floor(seconds / size))}${SPACE}${unit}`;
  }
  return `${Math.round(seconds)}${SPACE}s`;
}

/** -3 -> "10⁻³" */
export function powerOfTen(exponent) {
  return `10${superscript(exponent)}`;
}

function superscript(number) {
  return String(number).replace(/./g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]));
}

/** ["a", "b", "c"] -> "a, b and c" */
export function list(words) {
  return new Intl.ListFormat("en-GB", { type: "conjunction" }).format(words.map(String));
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)}${SPACE}${number === 1 ? one : many}`;
}

/** "no such run" -> "No such run." */
export function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
