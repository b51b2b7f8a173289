// The main loop: while the page is visible, poll the API every two seconds and show what has changed.

import { ApiError, get, ofRun } from "./api.js";
import { showClasses } from "./classes.js";
import { makeCurves, showCurves, showHeadline } from "./curves.js";
import { byId, element, setText } from "./dom.js";
import { hideLogin, isLoginShown, makeLogin, showLogin } from "./login.js";
import { duration, plural, sentence } from "./format.js";
import { SHELVES, showGalleryHint, showShelf } from "./gallery.js";
import { showHealth } from "./health.js";
import { RunData } from "./run_data.js";
import { chosenRun, latestRun, showRuns } from "./runs.js";
import { showScores, showStaleness } from "./scores.js";
import { makeThemeSwitch } from "./theme_switch.js";
import { summarize, warnings } from "./summary.js";

const EVERY = 2000; // milliseconds between polls
const GALLERY_EVERY = 6000; // less often: ranking millions of scores takes longer

let data = new RunData(null, null);
let timer = null;
let turn = 0; // of polling: late answers of an earlier poll are not shown
let lastAnswer = null; // time of the API's last answer, in milliseconds

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  turn += 1;
  const mine = turn;
  try {
    await ask(() => mine === turn);
    lastAnswer = Date.now();
    connection("live", "Live");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (mine === turn) fail(error);
  } finally {
    if (mine === turn && !isLoginShown()) timer = setTimeout(poll, EVERY);
  }
}

async function ask(inTime) {
  const [source, runs] = await Promise.all([get("health"), get("runs")]);
  if (!inTime()) return;
  hideLogin();
  setText(byId("source"), source.store);
  const run = chosenRun() ?? latestRun(runs);
  showRuns(runs, run);
  const listed = runs.find((each) => each.run === run);
  if (!listed) return showNothing(run, runs, source);
  if (run !== data.run || listed.created !== data.created) data = new RunData(run, listed.created);

  const [stats, history] = await Promise.all([
    ofRun(run, "stats"),
    ofRun(run, "history", { since: data.since }),
  ]);
  if (!inTime()) return;
  if (!data.isContinuedBy(history)) {
    data = new RunData(run, listed.created); // the run was resumed or restarted while the page was hidden
    return ask(inTime);
  }
  const classes = data.stats?.epoch === stats.epoch ? data.classes : await ofRun(run, "classes");
  if (!inTime()) return;
  data.update(stats, history, classes);
  show(data, listed, source);
  await showGallery(data, source, inTime);
}

function show(current, listed, source) {
  const { run, stats, history } = current;
  const { rates, classes } = current;
  const seen = {
    run,
    stats,
    history,
    rates,
    classes,
    source,
    waited: current.waited(),
    planner: planner(listed, source),
  };
  byId("panels").hidden = false;
  document.title = `${run} · sadp_dist`;
  setText(byId("run-name"), run);
  setText(byId("facts"), facts(stats, listed));
  say(summarize(seen));
  showWarnings(warnings(seen));
  if (current.changes("headline", { ...stats, at: 0, answered_in: 0 }, history.at(-1)?.training))
    showHeadline(seen);
  if (current.changes("curves", history)) showCurves(seen);
  if (current.changes("scores", history, stats.score_histogram)) showScores(seen);
  if (current.changes("staleness", history, stats.staleness_quantiles, stats.staleness_mean))
    showStaleness(seen);
  if (current.changes("classes", classes)) showClasses(seen);
  showHealth(seen);
}

/** Who plans: with Redis another process, if there is one; with Ray the store; for a saved run nobody. */
function planner(listed, source) {
  if (/^rediss?:/.test(source.store)) return listed.planner ?? null;
  return source.store.startsWith("ray:") ? "the store itself" : "not needed for a saved run";
}

function facts(stats, listed) {
  const begun = listed.created ? `started ${duration(Math.max(stats.at - listed.created, 0))} ago` : null;
  return [`method ${stats.method}`, plural(stats.dataset_size, "example"), begun].filter(Boolean).join(" · ");
}

function showWarnings(found) {
  const list = byId("warnings");
  if (JSON.stringify([...list.children].map((item) => item.textContent)) === JSON.stringify(found)) return;
  list.replaceChildren(...found.map((text) => element("li", {}, text)));
}

async function showGallery(current, source, inTime) {
  showGalleryHint(source.images, current.stats.images_problem);
  const k = Number(byId("gallery-size").value);
  const shows = { k, pushes: current.stats.pushes, epoch: current.stats.epoch, images: source.images };
  const same = JSON.stringify(shows) === JSON.stringify(current.gallery.shows);
  const soon = k === current.gallery.shows?.k && Date.now() - current.gallery.at < GALLERY_EVERY;
  if (same || soon) return;
  const shelves = await Promise.all(SHELVES.map(([, query]) => ofRun(current.run, "top", { k, ...query })));
  if (!inTime()) return;
  current.gallery = { shows, at: Date.now() };
  SHELVES.forEach(([name], i) => {
    if (current.changes(name, shelves[i])) showShelf(name, shelves[i]);
  });
}

function showNothing(run, runs, source) {
  byId("panels").hidden = true;
  document.title = "sadp_dist";
  setText(byId("facts"), "");
  showWarnings([]);
  setText(byId("run-name"), run ?? "No runs yet");
  if (run === null) say(["This store has no runs.", howToBegin(source.store)]);
  else say([`There is no run with this name${runs.length ? "; choose one from the list" : ""}.`]);
}

function howToBegin(store) {
  const run =
    store.includes("://") || store.startsWith("ray:")
      ? `sadp-dist train CONFIG.yaml store.url=${store}`
      : "sadp-dist train CONFIG.yaml";
  return `Start a run, and it appears here: ${run}`;
}

/** Show sentences, the first one emphasized. Screen readers announce changes. */
function say([lead, ...rest]) {
  setText(byId("lead"), lead);
  setText(byId("verdict"), rest.join(" "));
}

function fail(error) {
  if (error.status === 401) {
    connection("locked", "Logged out");
    return showLogin();
  }
  connection("lost", "Not connected");
  const since =
    lastAnswer === null ? "" : ` The data shown is from ${new Date(lastAnswer).toLocaleTimeString()}.`;
  showWarnings([`${sentence(error.message)}${since} Trying again every two seconds.`]);
  if (data.stats === null) {
    byId("panels").hidden = true;
    setText(byId("run-name"), data.run ?? "No data yet");
    setText(byId("facts"), "");
    say([""]);
  }
}

function connection(state, text) {
  const node = byId("connection");
  node.dataset.state = state;
  setText(node, text);
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the URL fragment names the run
  byId("main").focus();
});

byId("gallery-size").addEventListener("change", poll);
addEventListener("hashchange", poll);
document.addEventListener("visibilitychange", poll);

byId("runs-box").open = matchMedia("(min-width: 900px)").matches;
makeCurves();
makeThemeSwitch();
makeLogin(poll);
poll();
