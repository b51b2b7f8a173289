// How the scores spread over the epochs, and how old they are.

import { draw, epochAxis, instead } from "./charts.js";
import { byId, pair } from "./dom.js";
import { count, figure, percent, powerOfTen } from "./format.js";

const BINS = 36;
const QUANTILES = [
  ["0.5", "median"],
  ["0.75", "75 % within"],
  ["0.95", "95 % within"],
  ["1", "oldest"],
];

export function showScores({ run, history }) {
  const records = history.filter((record) => record.score_histogram.counts.length);
  if (
    instead(
      "scores-chart",
      records.length
        ? null
        : "No example has a score yet: the first epoch gives every one that it trains on its own.",
    )
  ) {
    byId("scores-note").textContent = "";
    return;
  }
  const epochs = records.map((record) => record.epoch + 1);
  const { edges, shares } = onCommonBins(records.map((record) => record.score_histogram));
  const medians = records.map((record) => record.score_quantiles["0.5"]);
  const last = records.at(-1);
  const [low, high] = [last.score_quantiles["0.05"], last.score_quantiles["0.95"]];
  draw(
    "scores-chart",
    `Histogram of the scores over ${epochs.length} epochs. In epoch ${epochs.at(-1)} the median is ${figure(medians.at(-1))}, ` +
      `and 90 % of the scores lie between ${figure(low)} and ${figure(high)}; in epoch ${epochs[0]} the median was ${figure(medians[0])}.`,
    run,
    (palette) => ({
      traces: [
        {
          type: "heatmap",
          x: epochs,
          y: edges.slice(1).map((edge, bin) => (edge + edges[bin]) / 2),
          z: edges.slice(1).map((_, bin) => shares.map((ofEpoch) => ofEpoch[bin] || null)),
          colorscale: [
            [0, palette.faint],
            [1, palette.accent],
          ],
          zmin: 0,
          showscale: false,
          hoverongaps: false,
          customdata: edges
            .slice(1)
            .map((edge, bin) =>
              shares.map(
                (ofEpoch) =>
                  `${percent(ofEpoch[bin])} of the scores lie from ${figure(10 ** edges[bin])} to ${figure(10 ** edge)}`,
              ),
            ),
          hovertemplate: "epoch %{x}: %{customdata}<extra></extra>",
        },
        {
          x: epochs,
          y: medians.map((median) => (median > 0 ? Math.log10(median) : null)),
          mode: epochs.length < 3 ? "lines+markers" : "lines",
          line: { color: palette.second, width: 2 },
          hoverinfo: "skip",
        },
      ],
      layout: {
        hovermode: "closest",
        xaxis: { ...epochAxis(epochs), title: { text: "epoch", font: { size: 11 } } },
        yaxis: scoreAxis(edges),
      },
    }),
  );
  const zeros = last.score_histogram.zeros;
  byId("scores-note").textContent =
    `Now: median ${figure(medians.at(-1))}, 90 % between ${figure(low)} and ${figure(high)}, the largest is ${figure(last.score_quantiles["1"])}` +
    (zeros ? `; ${count(zeros)} are 0 and not drawn here.` : ".");
}

/**
 * Histograms whose bins differ from epoch to epoch, on bins that all share, evenly spaced in the logarithm. A bin's
 * examples are spread evenly over its width.
 *
 * @param {{edges: number[], counts: number[]}[]} histograms
 * @returns {{edges: number[], shares: number[][]}} edges as powers of ten; the share of an epoch's examples by bin.
 */
export function onCommonBins(histograms) {
  const logs = histograms.map((histogram) => histogram.edges.map(Math.log10));
  let low = Math.min(...logs.map((edges) => edges[0]));
  let high = Math.max(...logs.map((edges) => edges.at(-1)));
  if (high - low < 1e-6) [low, high] = [low - 0.5, high + 0.5]; // all scores are the same
  const width = (high - low) / BINS;
  const shares = histograms.map(({ counts }, epoch) => {
    const total = counts.reduce((sum, number) => sum + number, 0);
    const bins = new Array(BINS).fill(0);
    counts.forEach((number, i) => {
      const [from, to] = [(logs[epoch][i] - low) / width, (logs[epoch][i + 1] - low) / width];
      if (to - from < 1e-9) bins[Math.min(Math.floor(from), BINS - 1)] += number / total;
      else {
        for (let bin = Math.max(Math.floor(from), 0); bin < Math.min(to, BINS); bin++) {
          bins[bin] += ((Math.min(to, bin + 1) - Math.max(from, bin)) / (to - from)) * (number / total);
        }
      }
    });
    return bins;
  });
  return { edges: Array.from({ length: BINS + 1 }, (_, i) => low + i * width), shares };
}

function scoreAxis(edges) {
  const [low, high] = [Math.ceil(edges[0]), Math.floor(edges.at(-1))];
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const ticks = [];
  for (let exponent = low; exponent <= high; exponent += step) ticks.push(exponent);
  return {
    tickvals: ticks,
    ticktext: ticks.map(powerOfTen),
    showgrid: false,
    range: [edges[0], edges.at(-1)],
  };
}

export function showStaleness({ run, stats, history }) {
  const records = history.filter((record) => record.staleness_mean !== null);
  const quantiles = stats.staleness_quantiles;
  byId("staleness-quantiles").replaceChildren(
    ...(quantiles
      ? QUANTILES.map(([share, name]) =>
          pair(name, `${figure(quantiles[share])} epoch${quantiles[share] === 1 ? "" : "s"}`),
        )
      : []),
  );
  if (instead("staleness-chart", records.length ? null : "No example has a score yet.")) return;
  const epochs = records.map((record) => record.epoch + 1);
  const means = records.map((record) => record.staleness_mean);
  draw(
    "staleness-chart",
    `Mean staleness over ${epochs.length} epochs: ${figure(means[0])} epochs at first, ${figure(means.at(-1))} now.`,
    run,
    (palette) => ({
      traces: [
        {
          x: epochs,
          y: means,
          mode: epochs.length < 3 ? "lines+markers" : "lines",
          line: { color: palette.accent, width: 2 },
          customdata: means.map((mean) => `${figure(mean)} epochs on average`),
          hovertemplate: "%{customdata}<extra></extra>",
        },
      ],
      layout: { xaxis: epochAxis(epochs), yaxis: { rangemode: "tozero" } },
    }),
  );
}
