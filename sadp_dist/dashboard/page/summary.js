// Summarizes a run in sentences, and lists warnings.

import { compact, count, duration, figure, list, percent, plural } from "./format.js";

/** Seconds that ranks may wait for other ranks before there is a warning. */
export const PATIENCE = 15;
const EQUAL = 1.02; // if the largest weight is below this, no probability is more than 2 % below S/N
const LOW_SAMPLE_SIZE = 0.5; // effective, as a share of the subset

/** Effective sample size as a share of the drawn examples; null before the first plan. */
export function worth(plan) {
  return plan.drawn ? plan.effective_sample_size / plan.drawn : null;
}

/** Share of all training examples of all epochs that pruning has skipped so far. */
export function leftOut(history, datasetSize) {
  if (history.length === 0) return null;
  return 1 - history.reduce((sum, epoch) => sum + epoch.drawn, 0) / (history.length * datasetSize);
}

/** The latest value of a training metric and its epoch; null if it was never recorded. */
export function latest(history, name) {
  const epoch = history.findLast((record) => typeof record.training[name] === "number");
  return epoch ? { epoch: epoch.epoch, value: epoch.training[name] } : null;
}

/** Whether the last epoch is finished: its metrics have been recorded. */
export function isOver({ stats, history }) {
  const last = history.at(-1);
  return Boolean(last && last.epoch === stats.epochs - 1 && Object.keys(last.training).length);
}

/** Whether there are more epochs to plan. */
export function hasMoreEpochs({ stats }) {
  return (stats.epoch ?? -1) < stats.epochs - 1;
}

/**
 * The state of a run in sentences.
 *
 * @param {object} seen stats and history.
 * @returns {string[]} sentences, the most important first.
 */
export function summarize(seen) {
  const { stats, history } = seen;
  if (stats.epoch === null) {
    return [
      "No epoch has been planned yet.",
      "The first epoch is planned when every rank of the job has asked for it.",
    ];
  }
  const sentences = [isOver(seen) ? `All ${count(stats.epochs)} epochs are done.` : thisEpoch(stats)];
  const saved = leftOut(history, stats.dataset_size);
  if (saved !== null && saved > 0.0005) {
    sentences.push(
      `Pruning has skipped ${percent(saved)} of all examples${isOver(seen) ? "" : " so far"}.`,
    );
  }
  if (stats.time_saved) sentences.push(`Time saved: ${stats.time_saved}.`);
  if (stats.subset_size && stats.subset_size < stats.dataset_size) {
    const weight = figure(stats.largest_weight, 2);
    sentences.push(
      `The largest weight is ${weight}. The effective sample size is ${percent(worth(stats), 0)} of the subset.`,
    );
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
  if (stats.drawn === 0) return `${which} is empty, because its pruning ratio is ${stats.ratio}.`;
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
 * Problems of a run, each with what to do.
 *
 * @param {object} seen stats, history, planner (null if there is none), waited (seconds for which the same ranks have
 *   been missing).
 * @returns {string[]}
 */
export function warnings(seen) {
  const { stats, history, planner, waited } = seen;
  const found = [];
  if (planner === null && hasMoreEpochs(seen)) {
    found.push(
      "No planner is running, so the next epoch cannot be planned. Start sadp-dist serve, or start the job with store.planner=rank0.",
    );
  }
  if (stats.waiting_ranks.length && waited > PATIENCE && hasMoreEpochs(seen)) {
    const ranks = stats.waiting_ranks;
    const behind = `Rank${ranks.length > 1 ? "s" : ""} ${list(ranks.length > 8 ? [...ranks.slice(0, 7), `${ranks.length - 7} more`] : ranks)}`;
    found.push(
      `${behind} ${ranks.length > 1 ? "have" : "has"} not asked for the next epoch. The other ranks have waited ${duration(waited)}. Check the output of these processes.`,
    );
  }
  if (stats.floor_in_force && stats.ratio > 0) {
    found.push(
      "The floor β is above S/N, so every example has the same probability and the scores have no effect. Lower pruning.min_probability.",
    );
  }
  if (stats.method === "sadp" && !stats.floor_in_force && nearlyUniform(history.slice(-2))) {
    found.push(
      "The floor β is close to S/N, so all examples have nearly the same probability and the scores have little effect. Lower pruning.min_probability.",
    );
  }
  const share = worth(stats);
  if (share !== null && share < LOW_SAMPLE_SIZE) {
    const how =
      stats.floor === null
        ? "Lower pruning.ratio."
        : "Raise pruning.min_probability, or lower pruning.max_ratio.";
    found.push(
      `The effective sample size is only ${percent(share, 0)} of the subset: a few large weights dominate the gradient. ${how}`,
    );
  }
  if (stats.rejected_pushes) {
    found.push(
      `${plural(stats.rejected_pushes, "push was", "pushes were")} rejected: an index was outside the dataset, or a score was not finite. See the output of the ranks.`,
    );
  }
  const bad = Object.entries(stats.bad_frames);
  if (bad.length) {
    const reasons = bad.map(([reason, number]) => `${reason} (${compact(number)})`);
    found.push(
      `Frames of scores could not be read and were skipped: ${list(reasons)}. Check that all ranks run the same version of sadp_dist.`,
    );
  }
  return found;
}

/** Whether the scores had almost no effect on which examples the epochs drew. */
function nearlyUniform(records) {
  return (
    records.length > 1 &&
    records.every(({ ratio, seen, largest_weight: weight }) => ratio > 0 && seen && weight < EQUAL)
  );
}
