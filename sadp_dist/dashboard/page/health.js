// The store, the planner and the ranks: is each there, and does it keep up?

import { byId, element } from "./dom.js";
import { bytes, compact, count, duration, list } from "./format.js";
import { isOver } from "./verdict.js";

const RANKS_SHOWN = 16;

/**
 * @param {object} seen stats, history, planner, planned, source (of /api/health), now (seconds since 1970),
 *   rates (scores and pushes a second since the last look, or null).
 */
export function showHealth(seen) {
  const { stats, planner, planned, source, now, rates } = seen;
  const over = isOver(seen);
  const bad = Object.entries(stats.bad_frames);
  const rows = [
    ["Store", "good", `answered in ${duration(stats.answered_in)}`, source?.store],
    [
      "Planner",
      planned || over ? "good" : "warn",
      planner ?? (planned ? "the store itself" : over ? "none, the run is over" : "none"),
    ],
    ranks(stats, over),
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
      stats.last_snapshot === null ? "none yet" : `${duration(Math.max(now - stats.last_snapshot, 0))} ago`,
    ],
    ["Memory", "", bytes(stats.memory_bytes), stats.shards > 1 ? `in ${count(stats.shards)} shards` : null],
    ["Received", "", bytes(stats.bytes_received)],
  ];
  byId("health").replaceChildren(
    ...rows.map(([name, state, value, note]) => healthRow(name, state, value, note)),
  );
}

function ranks(stats, over) {
  const { rank_epochs: epochs, waiting_ranks: waiting } = stats;
  if (epochs.length === 0) return ["Ranks", "", "not known", "this store does not say who asked"];
  const note = new Set(epochs).size === 1 ? `at ${at(epochs[0])}` : ranksOneByOne(epochs);
  if (over || waiting.length === 0) return ["Ranks", "good", `${count(epochs.length)}, all up to date`, note];
  return [
    "Ranks",
    "warn",
    `${count(epochs.length)}, waiting for ${waiting.length > 8 ? count(waiting.length) : list(waiting)}`,
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
