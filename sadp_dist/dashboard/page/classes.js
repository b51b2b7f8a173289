// Share of each class that the latest epoch draws.

import { draw, instead } from "./charts.js";
import { byId, element } from "./dom.js";
import { count, figure, percent } from "./format.js";

const ALL = 30; // up to this many classes, every class has a row
const ENDS = 15; // with more classes, show this many of the highest and the lowest keep rates
const BINS = 25;

const NO_LABELS =
  "This run has no labels. In your own training loop, pass labels to connect(..., labels=labels); sadp-dist train does.";

export function showClasses({ run, classes }) {
  const planned = classes !== null && classes.epoch !== null;
  const known = planned ? classes.classes.filter(({ examples }) => examples > 0) : [];
  const sorted = known.toSorted((a, b) => b.keep_rate - a.keep_rate);
  const many = sorted.length > ALL;
  const reason = classes === null ? NO_LABELS : planned ? null : "No epoch has been planned yet.";
  if (!instead("classes-chart", reason) && many) drawRates(run, sorted);
  byId("classes-chart").hidden = !many;
  byId("classes-hint").textContent = planned ? hint(classes.epoch, sorted.length) : "";
  const [most, least] = [sorted.slice(0, ENDS), sorted.slice(-ENDS).reverse()];
  if (!planned) byId("classes").replaceChildren();
  else if (many) byId("classes").replaceChildren(table("Highest keep rates", most), table("Lowest keep rates", least));
  else byId("classes").replaceChildren(table("Classes by keep rate", sorted, true));
}

function hint(epoch, classes) {
  const share = `Share of each class that epoch ${epoch + 1} draws`;
  if (classes <= ALL) return `${share}, highest first. Harder classes have higher rates.`;
  return `${share}: a histogram of the ${count(classes)} classes, and the ${ENDS} highest and lowest rates.`;
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
