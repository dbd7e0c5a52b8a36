// The live stream: what is open replaces what is shown, then news is told one by one; a lost connection is taken up again.

const LONGEST_MS = 15000;
const TRANSITIONS = ["raised", "escalated", "acknowledged", "snoozed", "woken", "recovering", "reopened", "resolved"];
const AGAIN_MS = 5000; // while shards are being restored

export class Live {
  // `told` has open(warnings, {complete, missing_partitions}), news(warning, transition) and state(name).
  constructor(told) {
    this.told = told;
    this.failures = 0;
  }

  follow(query) {
    this.stop();
    this.query = query;
    this.staged = [];
    this.told.state("connecting");
    const source = new EventSource(`/v1/warnings/stream?${query}`);
    this.source = source;
    source.addEventListener("open", (event) => {
      // The browser names its own event of a connection `open` too; that one has no data.
      if (event.data === undefined) this.#connected();
      else this.staged.push(JSON.parse(event.data));
    });
    source.addEventListener("live", (event) => {
      const said = JSON.parse(event.data);
      this.told.open(this.staged, said);
      this.staged = [];
      if (!said.complete) this.timer = setTimeout(() => this.follow(this.query), AGAIN_MS);
    });
    for (const transition of TRANSITIONS) {
      source.addEventListener(transition, (event) => this.told.news(JSON.parse(event.data), transition));
    }
    source.addEventListener("error", () => this.#lost(source));
  }

  stop() {
    clearTimeout(this.timer);
    this.source?.close();
  }

  #connected() {
    this.failures = 0;
    this.staged = [];
    this.told.state("live");
  }

  #lost(source) {
    if (source !== this.source) return;
    this.told.state("reconnecting");
    // The browser connects again by itself, except after an answer that was no stream.
    if (source.readyState !== EventSource.CLOSED) return;
    const wait = Math.min(LONGEST_MS, 1000 * 2 ** this.failures++) * (0.75 + Math.random() / 2);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.follow(this.query);
      this.told.state("reconnecting");
    }, wait);
  }
}
