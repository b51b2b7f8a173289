// What is known of the run that is looked at.

/** Another choice, or a run that began anew, begins with another one. */
export class Look {
  constructor(run, created) {
    Object.assign(this, { run, created, stats: null, history: [], classes: null, rates: null });
    this.gallery = { shows: null, at: 0 };
    this.shown = new Map(); // panel -> what it shows, as text
    this.waiting = { ranks: "", since: 0 };
  }

  /** The first epoch that may be another one than is known: what training measured comes after the plan. */
  get since() {
    return Math.max((this.history.at(-1)?.epoch ?? 0) - 1, 0);
  }

  /** Whether a history from `since` on is that of the run as it is known: its first epoch was done, and stays as it was. */
  isContinuedBy(history) {
    if (this.since === 0) return true; // that is all of it
    const known = this.history.find((record) => record.epoch === this.since);
    return JSON.stringify(known) === JSON.stringify(history[0]);
  }

  /** Take on what the API has answered; the history is that from `since` on. */
  learn(stats, history, classes) {
    this.rates = this.#rates(stats);
    const records = new Map([...this.history, ...history].map((record) => [record.epoch, record]));
    this.history = [...records.values()]
      .filter((record) => record.epoch <= (stats.epoch ?? -1)) // a run that was resumed is not as far
      .sort((a, b) => a.epoch - b.epoch);
    Object.assign(this, { stats, classes });
  }

  /** Scores and pushes a second; the answer may be the same as the last time. */
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

  /** Seconds that the same ranks have been waited for, as seen from here. */
  waited() {
    const { waiting_ranks: waiting, rank_epochs: epochs } = this.stats;
    const ranks = JSON.stringify([waiting, epochs]);
    if (waiting.length === 0 || this.waiting.ranks !== ranks) this.waiting = { ranks, since: Date.now() };
    return (Date.now() - this.waiting.since) / 1000;
  }

  /** Whether a panel has to be drawn, since it shows something else than what it would. */
  changes(panel, ...shows) {
    const text = JSON.stringify(shows);
    const changed = this.shown.get(panel) !== text;
    this.shown.set(panel, text);
    return changed;
  }
}
