// Does pruning work? The answer in words, from the figures: a sentence or two, and what is off.

import { compact, count, duration, figure, list, percent, plural } from "./format.js";

/** Seconds that ranks may wait for one another before it is worth a warning. */
export const PATIENCE = 15;
const EQUAL = 1.02; // where no weight is larger, no probability is below S/N by more than 2 %
const LOW_SAMPLE_SIZE = 0.5; // effective, as a share of the subset

/** Share of the drawn examples that they are worth, taking their weights into account; null before a plan. */
export function worth(plan) {
  return plan.drawn ? plan.effective_sample_size / plan.drawn : null;
}

/** Share of all example passes that pruning has left out so far. */
export function leftOut(history, datasetSize) {
  if (history.length === 0) return null;
  return 1 - history.reduce((sum, epoch) => sum + epoch.drawn, 0) / (history.length * datasetSize);
}

/** What training said last of one of its figures, and the epoch that was; null where it never did. */
export function latest(history, name) {
  const epoch = history.findLast((record) => typeof record.training[name] === "number");
  return epoch ? { epoch: epoch.epoch, value: epoch.training[name] } : null;
}

/** Whether the last epoch has been trained: what it measured is there. */
export function isOver({ stats, history }) {
  const last = history.at(-1);
  return Boolean(last && last.epoch === stats.epochs - 1 && Object.keys(last.training).length);
}

/** Whether there is still an epoch to plan. */
export function goesOn({ stats }) {
  return (stats.epoch ?? -1) < stats.epochs - 1;
}

/**
 * The state of a run in words.
 *
 * @param {object} seen stats and history.
 * @returns {string[]} sentences, the most important first.
 */
export function verdict(seen) {
  const { stats, history } = seen;
  if (stats.epoch === null) {
    return [
      "No epoch has been planned yet.",
      "The first one is, as soon as every rank of the job has asked for it.",
    ];
  }
  const sentences = [isOver(seen) ? `All ${count(stats.epochs)} epochs are done.` : thisEpoch(stats)];
  const saved = leftOut(history, stats.dataset_size);
  if (saved !== null && saved > 0.0005) {
    sentences.push(
      `${isOver(seen) ? "Pruning" : "So far pruning"} has left out ${percent(saved)} of all example passes.`,
    );
  }
  if (stats.subset_size && stats.subset_size < stats.dataset_size) {
    const weights = `largest weight is ${figure(stats.largest_weight, 2)}, the effective sample size ${percent(worth(stats), 0)}`;
    sentences.push(`The ${weights} of the subset.`);
  }
  const accuracy = accuracySentence(history);
  if (accuracy) sentences.push(accuracy);
  if (!isOver(seen) && stats.rank_epochs.length && stats.waiting_ranks.length === 0) {
    const ranks = stats.rank_epochs.length;
    const who = { 1: "The rank is", 2: "Both ranks are" }[ranks] ?? `All ${count(ranks)} ranks are`;
    sentences.push(`${who} up to date.`);
  }
  return sentences;
}

function thisEpoch(stats) {
  const which = `Epoch ${stats.epoch + 1} of ${count(stats.epochs)}`;
  if (stats.drawn === 0) return `${which} is empty: the pruning ratio is 1, nothing is trained on.`;
  if (stats.drawn === stats.dataset_size)
    return `${which} trains on all ${count(stats.dataset_size)} examples.`;
  const share = percent(stats.drawn / stats.dataset_size);
  return `${which} trains on ${share} of the examples, ${count(stats.drawn)} of ${count(stats.dataset_size)}.`;
}

function accuracySentence(history) {
  const last = latest(history, "test_accuracy");
  if (last === null) return null;
  const best = history.reduce(
    (found, record) =>
      record.training.test_accuracy > (found?.training.test_accuracy ?? -1) ? record : found,
    null,
  );
  const now = `Test accuracy is ${percent(last.value)}`;
  if (best.epoch === last.epoch) return history.length > 1 ? `${now}, its best so far.` : `${now}.`;
  return `${now}; its best was ${percent(best.training.test_accuracy)} in epoch ${best.epoch + 1}.`;
}

/**
 * What is off, each with what to do about it.
 *
 * @param {object} seen stats, history, planner (null where none is there), waited (seconds that the same ranks have
 *   been waited for).
 * @returns {string[]}
 */
export function warnings(seen) {
  const { stats, history, planner, waited } = seen;
  const found = [];
  if (planner === null && goesOn(seen)) {
    found.push(
      'No planner runs, so the next epoch cannot be planned: start "sadp-dist serve", or the job with store.planner=rank0.',
    );
  }
  if (stats.waiting_ranks.length && waited > PATIENCE && goesOn(seen)) {
    const ranks = stats.waiting_ranks;
    const behind = `Rank${ranks.length > 1 ? "s" : ""} ${list(ranks.length > 8 ? [...ranks.slice(0, 7), `${ranks.length - 7} more`] : ranks)}`;
    found.push(
      `${behind} ${ranks.length > 1 ? "have" : "has"} not asked for the next epoch; the others have waited ${duration(waited)}. See what these processes print.`,
    );
  }
  if (stats.floor_in_force && stats.ratio > 0) {
    found.push(
      "The floor β is above S/N, so every example has the same probability and the scores decide nothing: lower pruning.min_probability.",
    );
  }
  if (stats.method === "sadp" && !stats.floor_in_force && nearlyUniform(history.slice(-2))) {
    found.push(
      "All examples are drawn with nearly the same probability, since the floor β is close to S/N: the scores decide next to nothing. Lower pruning.min_probability.",
    );
  }
  const share = worth(stats);
  if (share !== null && share < LOW_SAMPLE_SIZE) {
    const how =
      stats.floor === null
        ? "Lower pruning.ratio."
        : "Raise pruning.min_probability, or lower pruning.max_ratio.";
    found.push(
      `The effective sample size is ${percent(share, 0)} of the subset: a few large weights dominate the gradient. ${how}`,
    );
  }
  if (stats.rejected_pushes) {
    found.push(
      `${plural(stats.rejected_pushes, "push was", "pushes were")} refused: indices outside the dataset or scores that are not finite. The ranks' output says which.`,
    );
  }
  const bad = Object.entries(stats.bad_frames);
  if (bad.length) {
    const reasons = bad.map(([reason, number]) => `${reason} (${compact(number)})`);
    found.push(
      `Batches of scores could not be read and were skipped: ${list(reasons)}. Do all ranks run the same version?`,
    );
  }
  return found;
}

/** Whether epochs in which some are pruned by their scores do so hardly more than at random. */
function nearlyUniform(records) {
  return (
    records.length > 1 &&
    records.every(({ ratio, seen, largest_weight: weight }) => ratio > 0 && seen && weight < EQUAL)
  );
}
