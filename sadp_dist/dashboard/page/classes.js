// How much of each class the latest epoch draws.

import { draw, instead } from "./charts.js";
import { byId, element } from "./dom.js";
import { count, figure, percent } from "./format.js";

const ALL = 30; // up to so many classes each has its row
const ENDS = 15; // of more, so many of the least and the most kept
const BINS = 25;

export function showClasses({ run, classes }) {
  const known = classes?.classes.filter(({ examples }) => examples > 0) ?? [];
  const sorted = known.toSorted((a, b) => b.keep_rate - a.keep_rate);
  const many = sorted.length > ALL;
  byId("classes-hint").textContent = !sorted.length
    ? ""
    : many
      ? `Share of each class that epoch ${classes.epoch + 1} draws: how many of the ${count(sorted.length)} classes have which, then the ${ENDS} kept most and the ${ENDS} kept least.`
      : `Share of each class that epoch ${classes.epoch + 1} draws, the most kept first. Classes that the network finds hard are kept more.`;
  const reason = sorted.length
    ? null
    : "No labels are known, or no epoch has been planned: sadp-dist train gives them, connect(..., labels=) in a script of your own.";
  if (instead("classes-chart", reason) || !many) {
    byId("classes-chart").hidden = true;
  } else {
    drawRates(run, sorted);
  }
  const tables = !sorted.length
    ? []
    : many
      ? [table("Kept most", sorted.slice(0, ENDS)), table("Kept least", sorted.slice(-ENDS).reverse())]
      : [table("Classes by keep rate", sorted, true)];
  byId("classes").replaceChildren(...tables);
}

function drawRates(run, sorted) {
  const rates = sorted.map(({ keep_rate: rate }) => rate);
  const counts = new Array(BINS).fill(0);
  for (const rate of rates) counts[Math.min(Math.floor(rate * BINS), BINS - 1)] += 1;
  const median = rates[Math.floor(rates.length / 2)];
  draw(
    "classes-chart",
    `Keep rates of ${rates.length} classes: from ${percent(rates.at(-1))} to ${percent(rates[0])}, median ${percent(median)}.`,
    run,
    (palette) => ({
      traces: [
        {
          type: "bar",
          x: counts.map((_, bin) => (bin + 0.5) / BINS),
          y: counts,
          marker: { color: palette.accent },
          customdata: counts.map(
            (number, bin) =>
              `${count(number)} classes keep ${percent(bin / BINS, 0)} to ${percent((bin + 1) / BINS, 0)}`,
          ),
          hovertemplate: "%{customdata}<extra></extra>",
        },
      ],
      layout: { bargap: 0.12, hovermode: "closest", xaxis: { tickformat: ".0%", range: [0, 1] } },
    }),
  );
}

function table(caption, classes, quiet = false) {
  return element(
    "table",
    { class: "classes" },
    element("caption", quiet ? { class: "unseen" } : {}, caption),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ...["Class", "Keep rate", "Drawn", "Mean score"].map((name) => element("th", { scope: "col" }, name)),
      ),
    ),
    element("tbody", {}, ...classes.map(row)),
  );
}

function row({ label, name, examples, drawn, keep_rate: rate, score_mean: score }) {
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--share", rate);
  return element(
    "tr",
    {},
    element("th", { scope: "row", title: name ?? label }, name ?? label),
    element("td", {}, element("div", { class: "rate" }, bar, percent(rate, 0))),
    element("td", {}, `${count(drawn)} of ${count(examples)}`),
    element("td", {}, figure(score)),
  );
}
