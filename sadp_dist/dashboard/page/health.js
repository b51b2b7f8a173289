// The store, the planner and the ranks: is each there, and does it keep up?

import { byId, element } from "./dom.js";
import { bytes, compact, count, duration, list } from "./format.js";
import { PATIENCE, goesOn } from "./summary.js";

const RANKS_SHOWN = 16;

/**
 * @param {object} seen stats, planner (null where none is there), source (of /api/health), waited (seconds that the same
 *   ranks have been waited for), rates (scores and pushes a second since the last look, or null).
 */
export function showHealth(seen) {
  const { stats, source, rates } = seen;
  const bad = Object.entries(stats.bad_frames);
  const rows = [
    ["Store", "good", `answered in ${duration(stats.answered_in)}`, source.store],
    planner(seen),
    ranks(seen),
    [
      "Scores arriving",
      "",
      rates === null ? "–" : `${compact(rates.scores)} a second`,
      rates === null ? null : `${compact(rates.pushes)} pushes a second, ${count(stats.pushes)} in all`,
    ],
    ["Rejected pushes", stats.rejected_pushes ? "warn" : "good", count(stats.rejected_pushes)],
    [
      "Bad frames",
      bad.length ? "warn" : "good",
      bad.length ? list(bad.map(([reason, number]) => `${reason} ${count(number)}`)) : "0",
    ],
    [
      "Last snapshot",
      "",
      stats.last_snapshot === null
        ? "none yet"
        : `${duration(Math.max(stats.at - stats.last_snapshot, 1))} ago`,
    ],
    ["Memory", "", bytes(stats.memory_bytes)],
    ["Received", "", bytes(stats.bytes_received)],
  ];
  byId("health").replaceChildren(
    ...rows.map(([name, state, value, note]) => healthRow(name, state, value, note)),
  );
}

function planner(seen) {
  if (seen.planner !== null) return ["Planner", "good", seen.planner];
  return goesOn(seen) ? ["Planner", "warn", "none"] : ["Planner", "good", "none, all epochs are planned"];
}

/** That some wait for others is in order for a moment, between two epochs. */
function ranks(seen) {
  const { rank_epochs: epochs, waiting_ranks: waiting } = seen.stats;
  if (epochs.length === 0) return ["Ranks", "", "not known", "this store does not say who asked"];
  const note = new Set(epochs).size === 1 ? `at ${at(epochs[0])}` : ranksOneByOne(epochs);
  const all = count(epochs.length);
  if (waiting.length === 0 || !goesOn(seen)) return ["Ranks", "good", `${all}, all up to date`, note];
  const state = seen.waited > PATIENCE ? "warn" : "";
  return [
    "Ranks",
    state,
    `${all}, waiting for ${waiting.length > 8 ? count(waiting.length) : list(waiting)}`,
    note,
  ];
}

function ranksOneByOne(epochs) {
  const shown = epochs.slice(0, RANKS_SHOWN).map((epoch, rank) => `rank ${rank} at ${at(epoch)}`);
  return shown.join(", ") + (epochs.length > RANKS_SHOWN ? ", …" : "");
}

function at(epoch) {
  return epoch < 0 ? "no epoch yet" : `epoch ${epoch + 1}`;
}

function healthRow(name, state, value, note) {
  const word = { good: "in order", warn: "look at this" }[state];
  return element(
    "div",
    {},
    element("dt", {}, name),
    element(
      "dd",
      {},
      word
        ? element(
            "span",
            { class: `mark ${state}`, role: "img", "aria-label": word },
            state === "good" ? "✓" : "!",
          )
        : null,
      element("span", { class: "value" }, value),
      note ? element("span", { class: "note" }, note) : null,
    ),
  );
}
