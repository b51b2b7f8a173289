// The page's heart beat: ask the API every two seconds while somebody looks, and show what has changed.

import { ApiError, get, logIn, ofRun } from "./api.js";
import { redraw } from "./charts.js";
import { showClasses } from "./classes.js";
import { makeCurves, showCurves, showHeadline } from "./curves.js";
import { byId, element, setText } from "./dom.js";
import { duration, plural } from "./format.js";
import { SHELVES, showGalleryHint, showShelf } from "./gallery.js";
import { showHealth } from "./health.js";
import { chosenRun, latestRun, showRuns } from "./runs.js";
import { showScores, showStaleness } from "./scores.js";
import { verdict, warnings } from "./verdict.js";

const EVERY = 2000; // milliseconds between looks
const GALLERY_EVERY = 6000; // the highest of millions of scores are not asked for at each
const SYSTEM_DARK = matchMedia("(prefers-color-scheme: dark)");

/** What is known of the chosen run. Another choice, or a run that began anew, begins with another one. */
class Look {
  constructor(run, created) {
    Object.assign(this, { run, created, stats: null, history: [], classes: null, rates: null });
    this.shown = new Map(); // panel -> what it shows, as text: it is drawn again when that is another one
    this.waiting = { ranks: "", since: 0 };
    this.gallery = { shows: null, at: 0 };
  }

  /** Whether a panel has to be drawn, since what it shows is not what it showed. */
  changes(panel, ...shows) {
    const text = JSON.stringify(shows);
    const changed = this.shown.get(panel) !== text;
    this.shown.set(panel, text);
    return changed;
  }
}

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
    if (mine === turn && byId("door").hidden) timer = setTimeout(beat, EVERY);
  }
}

async function ask(inTime) {
  const [source, runs] = await Promise.all([get("health"), get("runs")]);
  if (!inTime()) return;
  byId("door").hidden = true;
  byId("dashboard").hidden = false;
  setText(byId("source"), source.store);
  const run = chosenRun() ?? latestRun(runs);
  showRuns(runs, run);
  const listed = runs.find((each) => each.run === run);
  if (!listed) return showNothing(run, runs, source);
  if (run !== look.run || listed.created !== look.created) look = new Look(run, listed.created);

  const known = look.history;
  const [stats, history] = await Promise.all([
    ofRun(run, "stats"),
    ofRun(run, "history", { since: Math.max((known.at(-1)?.epoch ?? 0) - 1, 0) }),
  ]);
  const classes = look.stats?.epoch === stats.epoch ? look.classes : await ofRun(run, "classes");
  if (!inTime()) return;
  Object.assign(look, {
    rates: rates(look, stats),
    stats,
    history: merged(known, history, stats.epoch),
    classes,
  });
  show(look, listed, source);
  await showGallery(look, source, inTime);
}

/** A history and what was asked for since: the newer record of an epoch holds; a run that began anew has fewer. */
function merged(known, asked, epoch) {
  const records = new Map([...known, ...asked].map((record) => [record.epoch, record]));
  return [...records.values()]
    .filter((record) => record.epoch <= (epoch ?? -1))
    .sort((a, b) => a.epoch - b.epoch);
}

/** Since the last look; the answer may be the one that was given then, too. */
function rates({ stats: before, rates: known }, now) {
  if (before === null || now.pushes < before.pushes) return null;
  const seconds = now.at - before.at;
  if (seconds <= 0) return known;
  return {
    scores: (now.pushed_scores - before.pushed_scores) / seconds,
    pushes: (now.pushes - before.pushes) / seconds,
  };
}

function show(current, listed, source) {
  const { run, stats, history } = current;
  const isRedis = /^rediss?:/.test(source.store ?? "");
  const planner = isRedis ? (listed.planner ?? null) : stats.planner;
  const seen = {
    ...{ run, stats, history, planner, source, rates: current.rates, classes: current.classes },
    planned: planner !== null || !isRedis, // elsewhere the store itself plans
    waited: waited(current),
    now: stats.at,
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
  if (current.changes("classes", current.classes)) showClasses(seen);
  showHealth(seen);
}

function facts(stats, listed) {
  const begun = listed.created ? `begun ${duration(Math.max(stats.at - listed.created, 0))} ago` : null;
  return [`method ${stats.method}`, plural(stats.dataset_size, "example"), begun].filter(Boolean).join(" · ");
}

/** Seconds that the same ranks have been waited for. */
function waited(current) {
  const { waiting_ranks: ranks, rank_epochs: epochs } = current.stats;
  const key = JSON.stringify([ranks, epochs]);
  if (ranks.length === 0 || current.waiting.ranks !== key)
    current.waiting = { ranks: key, since: Date.now() };
  return (Date.now() - current.waiting.since) / 1000;
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
  if (error.status === 401) return askForToken();
  connection("lost", "Not connected");
  const since =
    lastAnswer === null ? "" : ` What you see is from ${new Date(lastAnswer).toLocaleTimeString()}.`;
  showWarnings([`${sentence(error.message)}${since} Trying again every two seconds.`]);
  if (look.stats === null) {
    setText(byId("run-name"), "No figures yet");
    say([""]);
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function connection(state, text) {
  const node = byId("connection");
  node.dataset.state = state;
  setText(node, text);
}

function askForToken() {
  if (!byId("door").hidden) return;
  byId("dashboard").hidden = true;
  byId("door").hidden = false;
  connection("locked", "Locked");
  byId("token").focus();
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  byId("refused").textContent = "";
  try {
    await logIn(field.value);
  } catch (error) {
    byId("refused").textContent =
      error.status === 401
        ? "This is not the token. Look again where the dashboard was started."
        : sentence(error.message);
    field.select();
    return;
  }
  field.value = "";
  byId("door").hidden = true;
  await beat();
  byId("main").focus();
});

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part behind # in the address is the run
  byId("main").focus();
});

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : SYSTEM_DARK.matches;
}

function themeChanged() {
  setText(byId("theme"), isDark() ? "Light theme" : "Dark theme");
  redraw();
}

byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("sadp_dist theme", theme);
  themeChanged();
});

SYSTEM_DARK.addEventListener("change", themeChanged);
byId("gallery-size").addEventListener("change", beat);
addEventListener("hashchange", beat);
document.addEventListener("visibilitychange", beat);

byId("runs-box").open = matchMedia("(min-width: 900px)").matches;
makeCurves();
themeChanged();
beat();
