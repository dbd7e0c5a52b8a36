// A subscriber's record in the drawer: first what decides the talk, then ninety days, then everything else.

import { chart } from "./chart.js";
import { find, h } from "./dom.js";
import { actBy, acts, atRisk, badge, details, isOpen, pairs, severity, state, withheld } from "./warnings.js";
import { bytes, count, date, decimal, moment, money, segment, sentence, word } from "./words.js";

export class Drawer {
  // `does` has act(name, warning).
  constructor(does) {
    this.does = does;
    find("close").addEventListener("click", () => this.close());
    find("drawer").addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  async look(who) {
    this.back ??= document.activeElement;
    this.who = who;
    this.record = null;
    find("drawer").hidden = false;
    find("record").replaceChildren(h("p", { class: "quiet" }, word("loading")));
    find("close").focus();
    const found = await ask(who);
    if (this.who !== who) return; // another was asked for meanwhile
    this.record = found.record;
    if (found.record) this.draw();
    else find("record").replaceChildren(h("p", { class: "error", role: "alert" }, found.problem));
  }

  draw() {
    if (this.record) find("record").replaceChildren(...sections(this.record, this.does));
  }

  again(warning) {
    if (this.record?.subscriber_id === warning.subscriber_id) this.look(this.record.subscriber_id);
  }

  close() {
    find("drawer").hidden = true;
    this.who = this.record = null;
    if (this.back?.isConnected) this.back.focus();
    this.back = null;
  }
}

// An id of any shape travels in the query: paths are rewritten on their way.
async function ask(who) {
  try {
    for (const name of ["id", "msisdn"]) {
      const answer = await fetch(`/v1/subscribers?${new URLSearchParams({ [name]: who })}`);
      if (answer.ok) return { record: await answer.json() };
      if (answer.status !== 404) return { problem: (await answer.json()).detail };
    }
    return { problem: word("unknown") };
  } catch {
    return { problem: word("unreachable") };
  }
}

const unfed = () => h("span", { class: "quiet" }, word("unfed"));
const known = (value, show = (said) => said) => (value === null || value === undefined ? unfed() : show(value));
const yesNo = (value) => word(value ? "yes" : "no");
const section = (name, ...children) => h("section", {}, h("h3", {}, word(name)), ...children);
const amount = (value) => money(value, 2);

function sections(record, does) {
  const { warnings } = record;
  return [
    head(record),
    alarms(record),
    warnings.open.length ? section("open_warnings", warnings.open.map((warning) => card(warning, does))) : null,
    offers(record),
    section("last_90", chart(record)),
    h("div", { class: "columns" }, account(record), ties(record), profile(record), contacts(record)),
    warnings.withheld.length ? section("withheld", warnings.withheld.map((warning) => card(warning, does))) : null,
    warnings.past.length ? section("past_warnings", warnings.past.map((warning) => card(warning, does))) : null,
  ].filter(Boolean);
}

function head(record) {
  const { as_of: asOf } = record;
  return h(
    "div",
    { class: "head" },
    h("p", { class: "id" }, record.subscriber_id),
    h(
      "p",
      {},
      record.status ? badge(record.status === "normal" ? "good" : "critical", word(record.status)) : null,
      " ",
      record.status_since ? h("span", { class: "quiet" }, word("since", date(record.status_since))) : null,
      " ",
      record.segment?.now === undefined || record.segment?.now === null ? null : badge("plain", segment(record.segment.now)),
    ),
    h("p", { class: "quiet" }, `${word("as_of")} ${asOf.watermark ? moment(asOf.watermark) : "–"}`, asOf.closed_day ? ` · ${word("closed", date(asOf.closed_day))}` : null),
  );
}

function alarms(record) {
  const { porting, open_complaint: complaint } = record;
  const moves = ["code_issued", "requested", "ported"];
  const said = [
    porting && porting.state !== "none" && h("p", { class: "avoid" }, `${word("porting_state")}: ${word(porting.state)}${porting.to_network ? ` → ${porting.to_network}` : ""}${porting.since ? `, ${word("since", date(porting.since))}` : ""}`),
    porting && moves.includes(porting.state) && h("p", { class: "avoid" }, word("no_courting")),
    complaint && h("p", { class: "avoid" }, `${word("complaint")}: ${complaint.topic ?? complaint.complaint_id}${complaint.since ? `, ${word("since", date(complaint.since))}` : ""}`),
    record.withheld === "feed" && h("p", { class: "avoid" }, word("withheld_feed")),
    ...record.mutes.map((mute) => h("p", { class: "avoid" }, word("muted", date(mute.until), mute.by, mute.note))),
    record.arrears_minor > 0 && h("p", { class: "avoid" }, `${word("arrears")}: ${amount(record.arrears_minor)}`),
  ].filter(Boolean);
  return said.length ? h("div", {}, said) : null;
}

function card(warning, does) {
  return h(
    "article",
    { class: `card ${warning.severity} ${warning.state}` },
    h("p", {}, severity(warning), " ", h("code", {}, warning.rule), " ", state(warning)),
    h("p", { class: "said" }, sentence(warning.why)),
    withheld(warning),
    isOpen(warning) && sentence(warning.avoid) ? h("p", { class: "avoid" }, `${word("avoid")}: ${sentence(warning.avoid)}`) : null,
    h("p", { class: "quiet" }, `${word("money")} `, h("strong", {}, atRisk(warning)), ` · ${word("act_by")} `, actBy(warning)),
    h("details", {}, h("summary", {}, word("details")), details(warning, true)),
    h("p", { class: "acts" }, acts(warning, does)),
  );
}

function offers(record) {
  if (!record.offers.length) return null;
  return section("offers", h("ul", { class: "lines" }, record.offers.map((offer) => h("li", {}, sentence(offer.name), " ", h("span", { class: "quiet" }, offer.campaign)))));
}

function account(record) {
  const month = record.month_to_date;
  const quotas = record.quota_left?.map((quota) => {
    const show = quota.measure === "data" ? bytes : count;
    const resets = quota.resets_on ? `, ${word("resets", date(quota.resets_on))}` : "";
    return h("li", {}, `${quota.package_id}: ${quota.left === null ? "–" : show(quota.left)}${quota.total === null ? "" : ` / ${show(quota.total)}`}${resets}`);
  });
  return section(
    "account",
    pairs([
      [word("plan"), known(record.plan)],
      [word("fee"), known(record.fee_minor, amount)],
      [word("balance"), known(record.balance_minor, amount)],
      [word("arrears"), known(record.arrears_minor, amount)],
      [word("bills"), known(record.bills, (bills) => h("ul", { class: "lines" }, bills.map((bill) => h("li", {}, `${bill.bill_month}: ${amount(bill.total_minor)}`))))],
      [word("month"), known(month, () => [amount(month.spend_minor + month.fee_minor), word("minutes", count(month.voice_minutes)), bytes(month.data_bytes), `${count(month.sms)} ${word("sms")}`].join(" · "))],
      [word("quota"), known(quotas, (lines) => h("ul", { class: "lines" }, lines))],
      [word("recharge"), known(record.last_recharge, (last) => `${amount(last.amount_minor)}, ${date(last.on)}${record.recharge_gap_days === null ? "" : ` (${word("rhythm", decimal(record.recharge_gap_days))})`}`)],
    ]),
  );
}

function ties(record) {
  const bundles = record.bundles?.map((bundle) => h("li", {}, [bundle.kind ?? bundle.bundle_id, bundle.hard ? word("hard") : null, bundle.ends_on ? `→ ${date(bundle.ends_on)}` : null].filter(Boolean).join(" · ")));
  return section(
    "ties",
    pairs([
      [word("contract_end"), known(record.contract_end, date)],
      [word("blocks_port"), known(record.blocks_port, yesNo)],
      [word("bundles"), known(bundles, (lines) => (lines.length ? h("ul", { class: "lines" }, lines) : word("none")))],
      [word("broadband"), known(record.broadband, yesNo)],
      [word("family"), known(record.family, yesNo)],
      [word("group"), known(record.group, (group) => `${group.group_id}${group.key_person ? `, ${word("key_person")}` : ""}`)],
      [word("manager"), known(record.manager)],
    ]),
  );
}

function profile(record) {
  const device = record.device && [record.device.generation, record.device.dual_sim ? word("dual_sim") : null].filter(Boolean).join(" · ");
  const now = record.segment?.now;
  return section(
    "profile",
    pairs([
      [word("phone"), known(record.msisdn)],
      [word("tenure"), known(record.tenure_days, (days) => (days < 730 ? word("days", count(days)) : word("years", decimal(Math.round(days / 36.525) / 10))))],
      [word("segment"), known(now, () => `${segment(now)}${record.segment.before === null ? "" : ` (${word("before", segment(record.segment.before))})`}${record.segment.since ? `, ${word("since", date(record.segment.since))}` : ""}`)],
      [word("silent"), known(record.days_silent, (days) => word("days", count(days)))],
      [word("market"), known(record.market)],
      [word("area"), known(record.area)],
      [word("channel"), known(record.channel)],
      [word("industry"), known(record.industry)],
      [word("vip"), known(record.vip_level)],
      [word("birthday"), known(record.birthday, date)],
      [word("device"), known(device || null)],
      [word("forwarding"), known(record.forwarding_network)],
      [word("competitor"), known(record.competitor_called_on, date)],
      [word("consent"), Object.entries(record.consent).map(([channel, said]) => `${word(channel)}: ${said === null ? word("unfed") : yesNo(said)}`).join(" · ")],
    ]),
  );
}

function contacts(record) {
  const lines = [...record.contacts].reverse().map((contact) => h("li", {}, `${date(contact.on)} · ${word(contact.channel)}${contact.outcome ? ` · ${word(contact.outcome === "accepted" ? "to_offer" : contact.outcome)}` : ""}`));
  return section("contacts", lines.length ? h("ul", { class: "lines" }, lines) : h("p", { class: "quiet" }, word("none")));
}
