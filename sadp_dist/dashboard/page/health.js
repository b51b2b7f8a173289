// State of the store, the planner and the ranks.

import { byId, element } from "./dom.js";
import { bytes, compact, count, duration, list } from "./format.js";
import { PATIENCE, hasMoreEpochs } from "./summary.js";

const RANKS_SHOWN = 16;

/**
 * @param {object} seen stats, planner (null if there is none), source (of /api/health), waited (seconds for which the
 *   same ranks have been missing), rates (scores and pushes per second since the last poll, or null).
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
      rates === null ? "–" : `${compact(rates.scores)} per second`,
      rates === null ? null : `${compact(rates.pushes)} pushes per second, ${count(stats.pushes)} in total`,
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
  return hasMoreEpochs(seen) ? ["Planner", "warn", "none"] : ["Planner", "good", "none, all epochs are planned"];
}

/** Between two epochs, it is normal that some ranks wait for others for a moment. */
function ranks(seen) {
  const { rank_epochs: epochs, waiting_ranks: waiting } = seen.stats;
  if (epochs.length === 0) return ["Ranks", "", "unknown", "this store does not report its ranks"];
  const note = new Set(epochs).size === 1 ? `at ${at(epochs[0])}` : ranksOneByOne(epochs);
  const all = count(epochs.length);
  if (waiting.length === 0 || !hasMoreEpochs(seen)) return ["Ranks", "good", `${all}, all up to date`, note];
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
  const word = { good: "OK", warn: "warning" }[state];
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
