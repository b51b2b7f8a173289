// Distribution and staleness of the scores, by epoch and now.

import { draw, epochAxis, instead } from "./charts.js";
import { byId, pair } from "./dom.js";
import { count, figure, percent, powerOfTen } from "./format.js";
import { onCommonBins } from "./histogram.js";

const QUANTILES = [
  ["0.5", "median"],
  ["0.75", "75 % quantile"],
  ["0.95", "95 % quantile"],
  ["1", "oldest"],
];

/**
 * The scores after each epoch. A plan uses the scores of the epochs before it: the record of epoch k, counted from 0, has
 * the scores after k epochs. The current statistics include the epoch in progress.
 */
function spreads({ stats, history }) {
  const before = history.map((record) => ({ ...record, after: record.epoch }));
  const now = { ...stats, after: (stats.epoch ?? -1) + 1 };
  return [...before, now].filter((moment) => moment.score_histogram.counts.length);
}

export function showScores(seen) {
  const spread = spreads(seen);
  const note = byId("scores-note");
  note.textContent = "";
  if (
    instead(
      "scores-chart",
      spread.length ? null : "No example has a score yet. Training on an example gives it a score.",
    )
  )
    return;
  const last = spread.at(-1);
  const [low, median, high, largest] = ["0.05", "0.5", "0.95", "1"].map((share) =>
    figure(last.score_quantiles[share]),
  );
  const zeros = last.score_histogram.zeros;
  const now = `median ${median}, 90 % between ${low} and ${high}, maximum ${largest}`;
  note.textContent = `Now: ${now}${zeros ? `; ${count(zeros)} scores are 0 and not shown` : ""}.`;
  const first = `median ${figure(spread[0].score_quantiles["0.5"])} after epoch ${spread[0].after}`;
  draw(
    "scores-chart",
    `Histogram of the scores by epoch. First: ${first}. Now: ${now}.`,
    seen.run,
    (palette) => heatmap(spread, palette),
  );
}

function heatmap(spread, palette) {
  const after = spread.map((moment) => moment.after);
  const { edges, shares } = onCommonBins(spread.map((moment) => moment.score_histogram));
  const fullest = shares.map((ofEpoch) => Math.max(...ofEpoch)); // darkest, in each epoch
  const bins = edges
    .slice(1)
    .map((top, bin) => ({ bottom: edges[bin], top, shares: shares.map((all) => all[bin]) }));
  const inWords = ({ bottom, top }, share) =>
    `${percent(share)} of the scores: ${figure(10 ** bottom)} to ${figure(10 ** top)}`;
  return {
    traces: [
      {
        type: "heatmap",
        x: after,
        y: bins.map(({ bottom, top }) => (bottom + top) / 2),
        z: bins.map((bin) => bin.shares.map((share, i) => share / fullest[i] || null)),
        customdata: bins.map((bin) => bin.shares.map((share) => inWords(bin, share))),
        hovertemplate: "after epoch %{x}: %{customdata}<extra></extra>",
        hoverongaps: false,
        colorscale: [
          [0, palette.faint],
          [1, palette.accent],
        ],
        zmin: 0,
        showscale: false,
      },
      {
        x: after,
        y: spread.map(({ score_quantiles: quantiles }) =>
          quantiles["0.5"] > 0 ? Math.log10(quantiles["0.5"]) : null,
        ),
        mode: after.length < 3 ? "markers" : "lines",
        line: { color: palette.second, width: 2 },
        marker: { color: palette.second },
        hoverinfo: "skip",
      },
    ],
    layout: {
      hovermode: "closest",
      xaxis: { ...epochAxis(after), title: { text: "after epoch", font: { size: 11 } } },
      yaxis: scoreAxis(edges),
    },
  };
}

/** Ticks at powers of ten, and at 2 and 5 times them if there are few. */
function scoreAxis(edges) {
  const [low, high] = [edges[0], edges.at(-1)];
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const few = high - low < 2.5;
  const ticks = [];
  for (let exponent = Math.floor(low); exponent <= high; exponent += step) {
    ticks.push(...(few ? [1, 2, 5] : [1]).map((times) => exponent + Math.log10(times)));
  }
  const texts = ticks.map((tick) => (few ? figure(10 ** tick) : powerOfTen(tick)));
  return { tickvals: ticks, ticktext: texts, showgrid: false };
}

export function showStaleness(seen) {
  const quantiles = seen.stats.staleness_quantiles;
  const epochs = (number) => `${figure(number)} epoch${number === 1 ? "" : "s"}`;
  byId("staleness-quantiles").replaceChildren(
    ...(quantiles ? QUANTILES.map(([share, name]) => pair(name, epochs(quantiles[share]))) : []),
  );
  const planned = seen.history.filter((record) => record.staleness_mean !== null);
  if (instead("staleness-chart", planned.length ? null : "Available when the second epoch is planned.")) return;
  const means = planned.map((record) => record.staleness_mean);
  const label = `Mean staleness at the start of each epoch: first ${epochs(means[0])}, now ${epochs(means.at(-1))}.`;
  draw("staleness-chart", label, seen.run, (palette) => ({
    traces: [
      {
        x: planned.map((record) => record.epoch + 1),
        y: means,
        mode: planned.length < 3 ? "lines+markers" : "lines",
        line: { color: palette.accent, width: 2 },
        customdata: means.map((mean) => `${epochs(mean)} on average`),
        hovertemplate: "%{customdata}<extra></extra>",
      },
    ],
    layout: { xaxis: epochAxis(planned.map((record) => record.epoch + 1)), yaxis: { rangemode: "tozero" } },
  }));
}
