// Common style of all charts, with the colours of the style sheet. Plotly draws; `redraw` follows a change of theme.

import { byId } from "./dom.js";

const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset+autosize" };
const COLORS = ["ink", "muted", "line", "surface", "accent", "second", "faint"];
const touched = matchMedia("(pointer: coarse)"); // on touch screens, dragging scrolls the page
const drawn = new Map();

/**
 * Draw or update a chart and keep its zoom.
 *
 * @param {string} id of the element.
 * @param {string} label text alternative of the chart.
 * @param {string} run another run resets the zoom.
 * @param {(palette: object) => {traces: object[], layout: object}} describe Plotly's traces and layout.
 */
export function draw(id, label, run, describe) {
  const box = byId(id);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", label);
  const plot = () => {
    const palette = colors();
    const { traces, layout = {} } = describe(palette);
    const axis = {
      color: palette.muted,
      gridcolor: palette.line,
      zeroline: false,
      automargin: true,
      tickfont: { size: 11 },
      fixedrange: touched.matches,
    };
    window.Plotly.react(
      box,
      traces,
      {
        uirevision: run,
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: palette.ink },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        margin: { t: 8, r: 8, b: 22, l: 8 },
        showlegend: false,
        hovermode: "x unified",
        dragmode: touched.matches ? false : "zoom",
        hoverlabel: { bgcolor: palette.surface, bordercolor: palette.line, font: { color: palette.ink } },
        ...layout,
        xaxis: { ...axis, showgrid: false, nticks: 8, ticklabelstandoff: 3, ...layout.xaxis },
        yaxis: { ...axis, nticks: 5, ...layout.yaxis },
      },
      CONFIG,
    );
  };
  drawn.set(id, plot);
  plot();
}

/** Draw the visible charts again with the current size and colours. */
export function redraw() {
  for (const [id, plot] of drawn) if (byId(id).checkVisibility()) plot();
}

/** An axis of epochs from 1, with ticks at whole numbers, for at least three epochs. */
export function epochAxis(epochs) {
  const last = Math.max(epochs.at(-1) ?? 1, 3);
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => last / size <= 8) ?? 1000;
  // Unlike a range, this does not reset the zoom when there are more epochs.
  const autorangeoptions = { include: last === 3 ? [0.5, 3.5] : [] };
  return { tick0: 0, dtick: step, tickmode: "linear", hoverformat: "d", autorangeoptions };
}

/** Show a panel's chart, or the reason why there is none. Returns whether there is a reason. */
export function instead(id, reason) {
  const box = byId(id);
  let line = box.nextElementSibling;
  if (!line?.classList.contains("empty")) {
    line = document.createElement("p");
    line.className = "empty";
    box.after(line);
  }
  box.hidden = reason !== null;
  line.hidden = reason === null;
  line.textContent = reason ?? "";
  return reason !== null;
}

function colors() {
  const probe = document.body.appendChild(document.createElement("span"));
  const found = {};
  for (const name of COLORS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
