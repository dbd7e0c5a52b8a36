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

export function state(warning) {
  if (warning.state === "resolved") return badge("done", word(warning.outcome ?? "resolved"));
  if (warning.state === "acknowledged") {
    return badge("taken", warning.acknowledged_by ? word("acknowledged_by", warning.acknowledged_by) : word("acknowledged"));
  }
  return null;
}

export function orders(warning) {
  if (!warning.orders.length) return h("span", { class: "quiet" }, word("none"));
  const told = warning.orders.map((order) =>
    h("li", { class: order.ordered ? "sent" : "withheld" }, `${word(order.channel)}: ${word(order.ordered ? "ordered" : order.withheld)}`),
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
