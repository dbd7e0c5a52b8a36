// One warning as people read it: badges, orders, what to do and what not to say. Used by the table and the record.

import { h } from "./dom.js";
import { bytes, count, date, decimal, moment, money, sentence, word } from "./words.js";

export const badge = (kind, text) => h("span", { class: `badge ${kind}` }, text);

export const severity = (warning) => badge(warning.severity, word(warning.severity));

export const atRisk = (warning) => (warning.money_at_risk_minor === null ? "–" : money(warning.money_at_risk_minor));

export const isOpen = (warning) => warning.state !== "resolved";

export function actBy(warning) {
  if (!warning.act_by) return "–";
  return h("time", { datetime: warning.act_by }, date(warning.act_by));
}

const STATES = {
  resolved: (warning) => badge("done", word(warning.outcome ?? "resolved")),
  acknowledged: (warning) => badge("taken", warning.acknowledged_by ? word("acknowledged_by", warning.acknowledged_by) : word("acknowledged")),
  snoozed: (warning) => badge("later", warning.snoozed_until ? word("snoozed_until", date(warning.snoozed_until)) : word("snoozed")),
  recovering: (warning) => badge("good", warning.recovering_on ? word("recovering_on", date(warning.recovering_on)) : word("recovering")),
};

export const state = (warning) => STATES[warning.state]?.(warning) ?? null;

// What just befell a warning beside its state; `transition` is how the stream has told it.
export const turn = (transition) => (transition === "escalated" || transition === "reopened" ? badge("plain", word(transition)) : null);

export const withheld = (warning) => (warning.suppressed_by ? h("p", { class: "quiet" }, badge("plain", word("withheld")), " ", sentence(warning.suppressed_why)) : null);

// What can be done with a warning, each as a button; `does` has act(name, warning).
const ACTS = {
  acknowledge: (warning) => !warning.acknowledged_by && ["raised", "snoozed", "recovering"].includes(warning.state),
  snooze: (warning) => ["raised", "acknowledged", "snoozed"].includes(warning.state),
  resolve: isOpen,
};

export function acts(warning, does) {
  const named = Object.keys(ACTS).filter((name) => ACTS[name](warning));
  return named.map((name) => h("button", { type: "button", class: `button small ${name}`, onclick: () => does.act(name, warning) }, word(name)));
}

// Why there is no order, where the word means something else of a warning.
const WITHHELD = { rule: "withheld", holiday: "holiday_mute" };

export function orders(warning) {
  if (!warning.orders.length) return h("span", { class: "quiet" }, word("none"));
  const told = warning.orders.map((order) =>
    h("li", { class: order.ordered ? "sent" : "withheld" }, `${word(order.channel)}: ${word(order.ordered ? "ordered" : (WITHHELD[order.withheld] ?? order.withheld))}`),
  );
  return h("ul", { class: "orders" }, told);
}

// A figure in the unit that its signal's name carries.
function figure(name, value) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_drop")) return `${decimal(value * 100)} %`;
  if (/^(spend|recharge|bill|fee|monthly_value|balance|arrears|money)/.test(name) && !/days|gap/.test(name)) return money(value, 2);
  if (name.startsWith("data_")) return bytes(value);
  return Number.isInteger(value) ? count(value) : decimal(value);
}

export const pairs = (entries) =>
  h("dl", { class: "pairs" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

export function details(warning, isAvoidSaid = false) {
  const consent = Object.entries(warning.consent).map(([channel, said]) => `${word(channel)}: ${word(said === null ? "unfed" : said ? "yes" : "no")}`);
  const numbers = Object.entries(warning.numbers).map(([name, value]) => h("li", {}, h("code", {}, name), " ", figure(name, value)));
  return h(
    "div",
    { class: "details" },
    !isAvoidSaid && sentence(warning.avoid) && h("p", { class: "avoid" }, h("strong", {}, `${word("avoid")}: `), sentence(warning.avoid)),
    pairs([
      [word("runbook"), warning.runbook],
      [word("offer"), warning.offer && `${sentence(warning.offer.name)} (${warning.offer.campaign})`],
      [word("owner"), warning.owner],
      [word("rule"), `${warning.rule} · ${warning.rule_version}`],
      [word("market"), warning.market],
      [word("area"), warning.area],
      [word("manager"), warning.manager],
      [word("consent"), consent.join(" · ")],
      [word("numbers"), numbers.length ? h("ul", { class: "numbers" }, numbers) : null],
      [word("raised"), moment(warning.raised_at)],
    ]),
  );
}
