// The list of runs, and the chosen run: the part of the URL after "#run=".

import { byId, element } from "./dom.js";
import { compact } from "./format.js";

export function chosenRun() {
  const hash = location.hash;
  if (!hash.startsWith("#run=")) return null;
  try {
    return decodeURIComponent(hash.slice(5));
  } catch {
    return null; // not a valid encoding
  }
}

/** Put the choice into the URL, which triggers `hashchange`. */
export function choose(run) {
  location.hash = `run=${encodeURIComponent(run)}`;
}

/** The default run: the newest by creation, or by its last checkpoint in a folder of runs. */
export function latestRun(runs) {
  const since = ({ created, last_snapshot: saved }) => created ?? saved ?? 0;
  return runs.toSorted((a, b) => since(b) - since(a))[0]?.run ?? null;
}

/** Show the runs as radio buttons. Existing elements are kept, so that the focus does not move. */
export function showRuns(runs, chosen) {
  byId("run-count").textContent = String(runs.length);
  const box = byId("runs");
  const there = new Map([...box.children].map((choice) => [choice.querySelector("input").value, choice]));
  runs.forEach((run, place) => {
    const choice = there.get(run.run) ?? makeChoice(run.run);
    there.delete(run.run);
    const facts = choice.querySelector(".facts");
    facts.textContent = run.problem ?? describe(run);
    facts.classList.toggle("problem", Boolean(run.problem));
    choice.querySelector("input").checked = run.run === chosen;
    if (box.children[place] !== choice) box.insertBefore(choice, box.children[place] ?? null);
  });
  for (const gone of there.values()) gone.remove();
}

function makeChoice(run) {
  const input = element("input", { type: "radio", name: "run", value: run });
  input.addEventListener("change", () => choose(run));
  return element(
    "label",
    { class: "choice" },
    input,
    element("span", { class: "name" }, run),
    element("span", { class: "facts" }),
  );
}

function describe({ epoch, dataset_size: size, method }) {
  const parts = [
    epoch === null ? "not started" : `epoch ${epoch + 1}`,
    typeof size === "number" ? `${compact(size)} examples` : null,
    method,
  ];
  return parts.filter((part) => part !== null && part !== undefined).join(" · ");
}
