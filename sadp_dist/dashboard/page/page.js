// The page's heart beat: ask the API every two seconds while somebody looks, and show what has changed.

import { ApiError, get, ofRun } from "./api.js";
import { showClasses } from "./classes.js";
import { makeCurves, showCurves, showHeadline } from "./curves.js";
import { byId, element, setText } from "./dom.js";
import { closeDoor, isLocked, lock, makeDoor } from "./login.js";
import { duration, plural, sentence } from "./format.js";
import { SHELVES, showGalleryHint, showShelf } from "./gallery.js";
import { showHealth } from "./health.js";
import { Look } from "./run_data.js";
import { chosenRun, latestRun, showRuns } from "./runs.js";
import { showScores, showStaleness } from "./scores.js";
import { makeSwitch } from "./theme_switch.js";
import { verdict, warnings } from "./summary.js";

const EVERY = 2000; // milliseconds between looks
const GALLERY_EVERY = 6000; // the highest of millions of scores are not asked for at each

let look = new Look(null, null);
let timer = null;
let turn = 0; // of asking: what an earlier one still brings is not shown
let lastAnswer = null; // when the API last answered, in milliseconds

async function beat() {
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
    if (mine === turn && !isLocked()) timer = setTimeout(beat, EVERY);
  }
}

async function ask(inTime) {
  const [source, runs] = await Promise.all([get("health"), get("runs")]);
  if (!inTime()) return;
  closeDoor();
  setText(byId("source"), source.store);
  const run = chosenRun() ?? latestRun(runs);
  showRuns(runs, run);
  const listed = runs.find((each) => each.run === run);
  if (!listed) return showNothing(run, runs, source);
  if (run !== look.run || listed.created !== look.created) look = new Look(run, listed.created);

  const [stats, history] = await Promise.all([
    ofRun(run, "stats"),
    ofRun(run, "history", { since: look.since }),
  ]);
  if (!inTime()) return;
  if (!look.isContinuedBy(history)) {
    look = new Look(run, listed.created); // resumed or begun anew while nobody looked
    return ask(inTime);
  }
  const classes = look.stats?.epoch === stats.epoch ? look.classes : await ofRun(run, "classes");
  if (!inTime()) return;
  look.learn(stats, history, classes);
  show(look, listed, source);
  await showGallery(look, source, inTime);
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
  say(verdict(seen));
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

/** Who plans: in Redis another process, if any; a Ray actor does itself; nobody does for what is only saved. */
function planner(listed, source) {
  if (/^rediss?:/.test(source.store)) return listed.planner ?? null;
  return source.store.startsWith("ray:") ? "the store itself" : "none is needed, the run is saved";
}

function facts(stats, listed) {
  const begun = listed.created ? `begun ${duration(Math.max(stats.at - listed.created, 0))} ago` : null;
  return [`method ${stats.method}`, plural(stats.dataset_size, "example"), begun].filter(Boolean).join(" · ");
}

function showWarnings(found) {
  const list = byId("warnings");
  if (JSON.stringify([...list.children].map((item) => item.textContent)) === JSON.stringify(found)) return;
  list.replaceChildren(...found.map((text) => element("li", {}, text)));
}

async function showGallery(current, source, inTime) {
  showGalleryHint(source.images);
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
  if (run === null) say(["Nothing has trained here.", howToBegin(source.store)]);
  else say([`There is no run of this name${runs.length ? "; choose one from the list" : ""}.`]);
}

function howToBegin(store) {
  const run =
    store.includes("://") || store.startsWith("ray:")
      ? `sadp-dist train CONFIG.yaml store.url=${store}`
      : "sadp-dist train CONFIG.yaml";
  return `Start a run and it appears by itself: ${run}`;
}

/** The first sentence stands out. Screen readers hear both when one is another. */
function say([lead, ...rest]) {
  setText(byId("lead"), lead);
  setText(byId("verdict"), rest.join(" "));
}

function fail(error) {
  if (error.status === 401) {
    connection("locked", "Locked");
    return lock();
  }
  connection("lost", "Not connected");
  const since =
    lastAnswer === null ? "" : ` What you see is from ${new Date(lastAnswer).toLocaleTimeString()}.`;
  showWarnings([`${sentence(error.message)}${since} Trying again every two seconds.`]);
  if (look.stats === null) {
    byId("panels").hidden = true;
    setText(byId("run-name"), look.run ?? "No figures yet");
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
  event.preventDefault(); // the part behind # in the address is the run
  byId("main").focus();
});

byId("gallery-size").addEventListener("change", beat);
addEventListener("hashchange", beat);
document.addEventListener("visibilitychange", beat);

byId("runs-box").open = matchMedia("(min-width: 900px)").matches;
makeCurves();
makeSwitch();
makeDoor(beat);
beat();
