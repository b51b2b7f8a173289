// Headline figures, and their values in each epoch: six charts and a table.

import { draw, epochAxis, instead } from "./charts.js";
import { byId, element, pair } from "./dom.js";
import { count, figure, percent } from "./format.js";
import { latest, leftOut, worth } from "./summary.js";

const RECORD =
  "Nothing recorded yet. sadp-dist train records metrics after each epoch; your own loop can call store.record.";

const trained = (name) => (record) => record.training[name] ?? null;

/** Each chart: id, title, how to format its values, and its lines (name, colour, value of an epoch's record). */
const CHARTS = [
  {
    id: "accuracy",
    title: "Accuracy",
    write: (value) => percent(value),
    axis: { tickformat: ".0%" },
    lines: [
      ["test", "accent", trained("test_accuracy")],
      ["train", "second", trained("train_accuracy")],
    ],
    empty: RECORD,
  },
  {
    id: "loss",
    title: "Loss",
    write: (value) => figure(value),
    axis: { rangemode: "tozero" },
    lines: [
      ["train", "second", trained("loss")],
      ["test", "accent", trained("test_loss")],
    ],
    empty: RECORD,
  },
  {
    id: "ratio",
    title: "Pruning ratio",
    write: (value) => percent(value),
    axis: { tickformat: ".0%", range: [0, 1] },
    lines: [["ratio", "accent", (record) => record.ratio]],
  },
  {
    id: "subset",
    title: "Subset size",
    write: count,
    axis: { rangemode: "tozero" },
    lines: [["examples", "accent", (record) => record.drawn]],
  },
  {
    id: "weight",
    title: "Largest weight",
    write: (value) => figure(value),
    axis: { rangemode: "tozero" },
    lines: [["weight", "accent", (record) => record.largest_weight]],
  },
  {
    id: "sample-size",
    title: "Effective sample size",
    write: (value) => percent(value, 0),
    axis: { tickformat: ".0%", range: [0, 1.04] },
    lines: [["of the subset", "accent", worth]],
  },
];

/** Show the current figures. */
export function showHeadline({ stats, history }) {
  const accuracy = latest(history, "test_accuracy") ?? latest(history, "train_accuracy");
  const loss = latest(history, "loss");
  const unseen = stats.unseen ? `${count(stats.unseen)} without a score` : "all have a score";
  const drawn =
    stats.drawn === stats.subset_size
      ? `of ${count(stats.dataset_size)}`
      : `${count(stats.drawn)} drawn, of ${count(stats.dataset_size)}`;
  byId("headline").replaceChildren(
    figurePair("Epoch", stats.epoch === null ? "–" : count(stats.epoch + 1), `of ${count(stats.epochs)}`),
    figurePair(
      "Test accuracy",
      percent(accuracy?.value),
      accuracy ? `after epoch ${accuracy.epoch + 1}` : "not recorded",
    ),
    figurePair("Loss", figure(loss?.value), loss ? `in epoch ${loss.epoch + 1}` : "not recorded"),
    figurePair("Pruning ratio", percent(stats.ratio), leftOutNote(history, stats)),
    figurePair("Subset", count(stats.subset_size), stats.subset_size === null ? "" : drawn),
    figurePair(
      "Largest weight",
      figure(stats.largest_weight),
      stats.capped === null ? "" : `${count(stats.capped)} with p = 1`,
    ),
    figurePair(
      "Effective sample size",
      count(Math.round(stats.effective_sample_size ?? NaN)),
      worth(stats) === null ? "" : `${percent(worth(stats), 0)} of the subset`,
    ),
    figurePair("Noise ratio η", figure(stats.noise_ratio), noiseNote(stats.noise_ratio)),
    figurePair("Examples N", count(stats.dataset_size), unseen),
  );
}

function noiseNote(ratio) {
  if (ratio === null || ratio === undefined) return "";
  return ratio > 0.97
    ? "scores do not help: use rs2"
    : `a step is as good as ${figure(1 / ratio, 2)} random ones`;
}

function leftOutNote(history, stats) {
  const share = leftOut(history, stats.dataset_size);
  return share === null ? "" : `${percent(share, 0)} skipped so far`;
}

function figurePair(name, value, note) {
  return pair(name, element("span", { class: "value" }, value), element("span", { class: "note" }, note));
}

/** Create the elements of the charts, once. */
export function makeCurves() {
  byId("curves").replaceChildren(
    ...CHARTS.map(({ id, title }) =>
      element(
        "figure",
        {},
        element(
          "figcaption",
          {},
          element("span", { class: "name" }, title),
          element("span", { class: "now", id: `${id}-now` }),
        ),
        element("div", { class: "chart", id: `${id}-chart` }),
      ),
    ),
  );
}

export function showCurves({ run, history }) {
  const epochs = history.map((record) => record.epoch + 1);
  for (const chart of CHARTS) {
    const lines = chart.lines
      .map(([name, color, of]) => ({ name, color, values: history.map(of) }))
      .filter(({ values }) => values.some(isNumber));
    byId(`${chart.id}-now`).replaceChildren(
      ...lines.map((line) => legend(line, lines.length > 1, chart.write)),
    );
    if (instead(`${chart.id}-chart`, lines.length ? null : (chart.empty ?? "No epoch has been planned yet.")))
      continue;
    draw(`${chart.id}-chart`, summary(chart, lines, epochs), run, (palette) => ({
      traces: lines.map(({ name, color, values }) => ({
        name,
        x: epochs,
        y: values,
        mode: epochs.length < 3 ? "lines+markers" : "lines",
        line: { color: palette[color], width: 2 },
        marker: { size: 6 },
        customdata: values.map(chart.write),
        hovertemplate: "%{customdata}",
      })),
      layout: { xaxis: epochAxis(epochs), yaxis: chart.axis },
    }));
  }
  showTable(history);
}

function legend({ name, color, values }, named, write) {
  const value = write(values.findLast(isNumber));
  return element(
    "span",
    {},
    named ? element("i", { class: `key ${color}` }) : null,
    named ? `${name} ${value}` : value,
  );
}

/** Describe a chart in words: the first, the current and the extreme values of each line. */
function summary({ title, write }, lines, epochs) {
  const parts = lines.map(({ name, values }) => {
    const numbers = values.filter(isNumber);
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)].map(write);
    return `${name}: ${write(numbers[0])} at first, ${write(numbers.at(-1))} now, between ${low} and ${high}`;
  });
  return `${title} over ${epochs.length} epochs. ${parts.join("; ")}.`;
}

function showTable(history) {
  const recorded = [...new Set(history.flatMap((record) => Object.keys(record.training)))].sort();
  const columns = [
    ["Epoch", (record) => count(record.epoch + 1)],
    ["Ratio", (record) => percent(record.ratio)],
    ["Subset", (record) => count(record.subset_size)],
    ["Drawn", (record) => count(record.drawn)],
    ["Largest weight", (record) => figure(record.largest_weight)],
    ["Effective sample size", (record) => count(Math.round(record.effective_sample_size))],
    ["Noise ratio", (record) => figure(record.noise_ratio)],
    ["γ", (record) => figure(record.gamma)],
    ["Capped", (record) => count(record.capped)],
    ["Scored", (record) => count(record.seen)],
    ["Staleness", (record) => figure(record.staleness_mean)],
    ...recorded.map((name) => [name.replaceAll("_", " "), (record) => figure(record.training[name], 4)]),
  ];
  byId("curves-table").replaceChildren(
    element(
      "thead",
      {},
      element("tr", {}, ...columns.map(([name]) => element("th", { scope: "col" }, name))),
    ),
    element(
      "tbody",
      {},
      ...history
        .toReversed()
        .map((record) => element("tr", {}, ...columns.map(([, write]) => element("td", {}, write(record))))),
    ),
  );
}

const isNumber = (value) => typeof value === "number";
