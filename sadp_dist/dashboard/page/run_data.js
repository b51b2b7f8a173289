// The data of the run that is shown.

/** Create a new one when another run is chosen, or when the run restarts from the beginning. */
export class RunData {
  constructor(run, created) {
    Object.assign(this, { run, created, stats: null, history: [], classes: null, rates: null });
    this.gallery = { shows: null, at: 0 };
    this.shown = new Map(); // panel -> the data it shows, as text
    this.waiting = { ranks: "", since: 0 };
  }

  /** The first epoch whose record may have changed: its metrics arrive after its plan. */
  get since() {
    return Math.max((this.history.at(-1)?.epoch ?? 0) - 1, 0);
  }

  /** Whether a history from `since` on continues the known one: the record of a finished epoch does not change. */
  isContinuedBy(history) {
    if (this.since === 0) return true; // it is the whole history
    const known = this.history.find((record) => record.epoch === this.since);
    return JSON.stringify(known) === JSON.stringify(history[0]);
  }

  /** Store the answers of the API; the history is that from `since` on. */
  update(stats, history, classes) {
    this.rates = this.#rates(stats);
    const records = new Map([...this.history, ...history].map((record) => [record.epoch, record]));
    this.history = [...records.values()]
      .filter((record) => record.epoch <= (stats.epoch ?? -1)) // a resumed run may be at an earlier epoch
      .sort((a, b) => a.epoch - b.epoch);
    Object.assign(this, { stats, classes });
  }

  /** Scores and pushes per second; unchanged if the API returned the same answer again. */
  #rates(now) {
    const before = this.stats;
    if (before === null || now.pushes < before.pushes) return null;
    const seconds = now.at - before.at;
    if (seconds <= 0) return this.rates;
    return {
      scores: (now.pushed_scores - before.pushed_scores) / seconds,
      pushes: (now.pushes - before.pushes) / seconds,
    };
  }

  /** Seconds for which the same ranks have been missing, as seen by this page. */
  waited() {
    const { waiting_ranks: waiting, rank_epochs: epochs } = this.stats;
    const ranks = JSON.stringify([waiting, epochs]);
    if (waiting.length === 0 || this.waiting.ranks !== ranks) this.waiting = { ranks, since: Date.now() };
    return (Date.now() - this.waiting.since) / 1000;
  }

  /** Whether a panel must be drawn again because its data has changed. */
  changes(panel, ...shows) {
    const text = JSON.stringify(shows);
    const changed = this.shown.get(panel) !== text;
    this.shown.set(panel, text);
    return changed;
  }
}
