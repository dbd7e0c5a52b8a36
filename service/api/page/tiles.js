// Counters of what is open, by severity and by rule; each is also the filter for what it counts.

import { find, h } from "./dom.js";
import { count, word } from "./words.js";

const LEVELS = ["critical", "warning", "notice"];
const COUNTED = { raised: 1, reopened: 1, resolved: -1 };
const EVERY_MS = 5000;
const SOON_MS = 1000;

export class Tiles {
  // `choose(name, value)` sets a filter; `chosen()` gives those that are set.
  constructor(choose, chosen) {
    this.choose = choose;
    this.chosen = chosen;
    this.rules = [];
    this.open = new Map(); // rule -> {notice, warning, critical}
    this.seen = new Map(); // warning -> state, as counted since the last answer
  }

  async start() {
    for (;;) {
      await this.refresh();
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }

  async refresh() {
    try {
      const answer = await fetch("/v1/rules");
      if (!answer.ok) return;
      this.rules = (await answer.json()).rules;
      this.open = new Map(this.rules.map((rule) => [rule.id, { ...rule.open }]));
      this.seen.clear();
      this.draw();
    } catch {
      // The link says that the service cannot be reached; the counters stay as they were.
    }
  }

  // Between two answers, news moves the counters; an answer soon after settles what both have counted.
  count(warning, transition) {
    const open = this.open.get(warning.rule);
    const key = `${warning.id} ${transition}`;
    if (!open || !(transition in COUNTED || transition === "escalated") || this.seen.has(key)) return;
    this.seen.set(key, true);
    open[warning.severity] = Math.max(0, open[warning.severity] + (COUNTED[transition] ?? 0));
    this.settling ??= setTimeout(() => {
      this.settling = null;
      this.refresh();
    }, SOON_MS);
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const sums = Object.fromEntries(LEVELS.map((level) => [level, 0]));
    for (const open of this.open.values()) for (const level of LEVELS) sums[level] += open[level];
    const all = LEVELS.reduce((sum, level) => sum + sums[level], 0);
    const chosen = this.chosen();
    update(find("tiles"), [
      tile("all", all, !chosen.severity, () => this.choose("severity", "")),
      ...LEVELS.map((level) => tile(level, sums[level], chosen.severity === level, () => this.choose("severity", chosen.severity === level ? "" : level))),
    ]);
    const totals = this.rules
      .map((rule) => [rule.id, LEVELS.reduce((sum, level) => sum + this.open.get(rule.id)[level], 0)])
      .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
    update(find("rules"), totals.map(([rule, total]) => chip(rule, total, chosen.rule === rule, () => this.choose("rule", chosen.rule === rule ? "" : rule))));
    this.#options(totals.map(([rule]) => rule).sort());
  }

  #options(rules) {
    const select = document.querySelector("#filters [name=rule]");
    const options = ["", ...rules];
    if (options.join() === this.listed) return;
    this.listed = options.join();
    const chosen = select.value;
    select.replaceChildren(...options.map((rule) => h("option", { value: rule }, rule || word("any"))));
    select.value = chosen;
  }

  redraw() {
    this.listed = null;
    const select = document.querySelector("#filters [name=severity]");
    const chosen = select.value;
    select.replaceChildren(...["", ...LEVELS].map((level) => h("option", { value: level }, word(level || "any"))));
    select.value = chosen;
    this.draw();
  }
}

// Keeps the keyboard's focus on the counter that has it.
function update(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  parent.replaceChildren(...children);
  if (focused) children.find((child) => child.dataset.key === focused)?.focus();
}

function tile(name, value, isPressed, onclick) {
  return h(
    "button",
    { type: "button", class: `tile ${name}`, "data-key": name, "aria-pressed": String(isPressed), onclick },
    h("span", { class: "value" }, count(value)),
    h("span", { class: "name" }, word(name)),
  );
}

function chip(rule, total, isPressed, onclick) {
  return h(
    "button",
    { type: "button", class: `chip${total ? "" : " zero"}`, "data-key": rule, "aria-pressed": String(isPressed), onclick },
    rule,
    " ",
    h("b", {}, count(total)),
  );
}
