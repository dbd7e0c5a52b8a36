// The live table: rows come and change in place, at most once a frame, and stand still while paused.

import { find, h } from "./dom.js";
import { actBy, acts, atRisk, details, isOpen, orders, severity, state, turn, withheld } from "./warnings.js";
import { count, moment, sentence, word } from "./words.js";

const KEPT = 500;
const SHOWN = 200;
const COLUMNS = 8;
const SORTS = {
  newest: (a, b) => b.raised_at.localeCompare(a.raised_at) || b.id.localeCompare(a.id),
  money: (a, b) => (b.money_at_risk_minor ?? -1) - (a.money_at_risk_minor ?? -1) || SORTS.newest(a, b),
  act_by: (a, b) => (a.act_by ?? "9").localeCompare(b.act_by ?? "9") || SORTS.money(a, b),
};

export class Table {
  // `does` has look(subscriberId) and act(name, warning).
  constructor(does) {
    this.does = does;
    this.warnings = new Map();
    this.drawn = new Map(); // id -> {warning, row, more}
    this.opened = new Set();
    this.turns = new Map(); // id -> the transition that the stream told last
    this.fresh = new Set();
    this.isPaused = false;
    this.waiting = 0;
    this.isLoaded = false;
    this.nothing = []; // words where no warning is to be shown
    this.order = "newest";
  }

  replace(warnings) {
    this.warnings = new Map(warnings.map((warning) => [warning.id, warning]));
    this.isLoaded = true;
    this.#draw();
  }

  clear() {
    this.isLoaded = false;
    this.replace([]);
    this.isLoaded = false;
    this.#draw();
  }

  put(warning, transition = null) {
    if (transition) this.turns.set(warning.id, transition);
    if (!this.warnings.has(warning.id)) {
      if (!isOpen(warning)) return;
      this.fresh.add(warning.id);
      if (this.isPaused) this.waiting += 1;
    }
    this.warnings.set(warning.id, warning);
    this.#draw();
  }

  sort(order) {
    this.order = order;
    this.#draw();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.waiting = 0;
    this.#draw();
  }

  redraw() {
    this.drawn.clear();
    this.#draw(true);
  }

  #draw(isForced = false) {
    this.isForced ||= isForced;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.#tell();
      if (!this.isPaused || this.isForced) this.#rows();
      this.isForced = false;
    });
  }

  #rows() {
    const sorted = [...this.warnings.values()].sort(SORTS[this.order]);
    for (const warning of [...this.warnings.values()].sort(SORTS.newest).slice(KEPT)) this.warnings.delete(warning.id);
    const rows = sorted.slice(0, SHOWN).flatMap((warning) => this.#lines(warning));
    const body = find("rows");
    // Rows that did not change keep their element, and so the keyboard's focus and the reader's place.
    rows.forEach((row, at) => {
      if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
    });
    while (body.children.length > rows.length) body.lastChild.remove();
    for (const known of [this.drawn, this.turns]) for (const id of known.keys()) if (!this.warnings.has(id)) known.delete(id);
    this.fresh.clear();
  }

  #tell() {
    const size = Math.min(this.warnings.size, SHOWN);
    find("shown").textContent = this.isLoaded ? word("shown", count(size)) : "";
    find("table").hidden = size === 0;
    find("empty").hidden = size > 0;
    if (!size) {
      const said = this.isLoaded ? this.nothing.map((said) => h("p", {}, word(said))) : [h("p", {}, word("loading"))];
      find("empty").replaceChildren(...said);
    }
    const button = find("pause");
    button.setAttribute("aria-pressed", String(this.isPaused));
    button.textContent = !this.isPaused ? word("pause") : this.waiting ? word("waiting", count(this.waiting)) : word("resume");
  }

  #lines(warning) {
    let known = this.drawn.get(warning.id);
    if (known?.warning !== warning) {
      const row = this.#row(warning);
      if (known?.row.contains(document.activeElement)) requestAnimationFrame(() => row.querySelector("button")?.focus());
      known = { warning, row, more: null };
      this.drawn.set(warning.id, known);
    }
    if (!this.opened.has(warning.id)) return [known.row];
    known.more ??= h("tr", { class: "more", id: `more-${warning.id}` }, h("td", { colspan: COLUMNS }, details(warning)));
    return [known.row, known.more];
  }

  #row(warning) {
    const isNew = this.fresh.has(warning.id);
    const cell = (name, ...children) => h("td", { "data-label": word(name) }, ...children);
    return h(
      "tr",
      { class: `${warning.severity} ${warning.state}${isNew ? " fresh" : ""}`, "data-id": warning.id },
      cell("time", h("time", { datetime: warning.raised_at }, moment(warning.raised_at))),
      cell("severity", severity(warning)),
      cell(
        "subscriber",
        h("button", { type: "button", class: "who", onclick: () => this.does.look(warning.subscriber_id) }, warning.subscriber_id),
      ),
      h(
        "td",
        { class: "why", "data-label": word("what_moved") },
        h("p", {}, sentence(warning.why)),
        h("p", { class: "quiet" }, h("code", {}, warning.rule), warning.kind === "risk" ? null : ` · ${word(warning.kind)}`, " ", state(warning), " ", turn(this.turns.get(warning.id))),
        withheld(warning),
      ),
      h("td", { class: "number", "data-label": word("money") }, atRisk(warning)),
      cell("act_by", actBy(warning)),
      cell("orders", orders(warning)),
      h("td", { class: "do" }, acts(warning, this.does), this.#toggle(warning)),
    );
  }

  #toggle(warning) {
    const button = h(
      "button",
      {
        type: "button",
        class: "toggle",
        "aria-expanded": String(this.opened.has(warning.id)),
        "aria-label": word("more", warning.subscriber_id),
        onclick: () => {
          if (!this.opened.delete(warning.id)) this.opened.add(warning.id);
          button.setAttribute("aria-expanded", String(this.opened.has(warning.id)));
          this.#draw(true);
        },
      },
      "›",
    );
    return button;
  }
}
