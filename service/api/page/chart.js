// Ninety days of use as bars, with holidays behind them and the baseline before the last thirty days across them.

import { h, svg } from "./dom.js";
import { bytes, count, date, money, word } from "./words.js";

const MEASURES = {
  voice: ["voice_minutes", (value) => word("minutes", count(Math.round(value)))],
  data: ["data_bytes", bytes],
  spend: ["spend_minor", (value) => money(value, 2)],
  messages: ["sms", (value) => count(Math.round(value))],
  outgoing: ["outgoing", (value) => count(Math.round(value))],
  recharge: ["recharge_minor", (value) => money(value, 2)],
};
const WIDTH = Math.min(580, Math.max(300, window.innerWidth - 60)); // drawn at its size, so that its text is of the page's
const HEIGHT = 180;
const TOP = 18;
const BOTTOM = 22;
const RECENT = 30;

export function chart(record) {
  const drawing = h("div", { class: "drawing" });
  const tabs = Object.keys(MEASURES).map((name) =>
    h("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: () => show(name) }, word(name)),
  );
  function show(chosen) {
    Object.keys(MEASURES).forEach((name, at) => tabs[at].setAttribute("aria-pressed", String(name === chosen)));
    drawing.replaceChildren(bars(record, chosen), table(record, chosen));
  }
  show("voice");
  return h("div", { class: "chart" }, h("div", { class: "rules", role: "group", "aria-label": word("last_90") }, tabs), drawing);
}

function bars({ daily, holidays }, measure) {
  const [key, say] = MEASURES[measure];
  const values = daily.map((day) => day[key]);
  const top = Math.max(...values, 1);
  const step = WIDTH / Math.max(daily.length, 1);
  const scale = (value) => (Math.max(value, 0) / top) * (HEIGHT - TOP - BOTTOM);
  const place = (day) => daily.findIndex((other) => other.date >= day);
  const before = values.slice(0, -RECENT);
  const baseline = before.slice(-2 * RECENT).reduce((sum, value) => sum + value, 0) / Math.max(Math.min(before.length, 2 * RECENT), 1);
  const level = HEIGHT - BOTTOM - scale(baseline);

  const pieces = [
    ...holidays.flatMap((holiday) => {
      const first = Math.max(place(holiday.from), 0);
      const after = daily.findIndex((day) => day.date > holiday.to);
      const last = after < 0 ? daily.length : after;
      if (last <= first) return [];
      return [svg("rect", { class: "holiday", x: first * step, y: TOP, width: (last - first) * step, height: HEIGHT - TOP - BOTTOM }, svg("title", {}, holiday.name))];
    }),
    ...daily.map((day, at) =>
      svg(
        "rect",
        {
          class: at >= daily.length - RECENT ? "bar recent" : "bar",
          x: at * step + step * 0.12,
          y: HEIGHT - BOTTOM - Math.max(scale(values[at]), values[at] > 0 ? 1 : 0),
          width: step * 0.76,
          height: Math.max(scale(values[at]), values[at] > 0 ? 1 : 0),
          rx: 1.5,
        },
        svg("title", {}, `${date(day.date)}: ${say(values[at])}`),
      ),
    ),
    svg("line", { class: "floor", x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
  ];
  if (baseline > 0) {
    pieces.push(
      svg("line", { class: "baseline", x1: (daily.length - RECENT) * step, x2: WIDTH, y1: level, y2: level }),
      svg("text", { class: "note", x: WIDTH - 2, y: level - 5, "text-anchor": "end" }, word("baseline", say(baseline))),
    );
  }
  const ticks = [0, Math.floor(daily.length / 3), daily.length - RECENT, daily.length - 1].filter((at) => daily[at]);
  for (const at of ticks) {
    const anchor = at === 0 ? "start" : at === daily.length - 1 ? "end" : "middle";
    pieces.push(svg("text", { class: "tick", x: at === daily.length - 1 ? WIDTH : at * step, y: HEIGHT - 6, "text-anchor": anchor }, date(daily[at].date)));
  }
  pieces.push(svg("text", { class: "tick", x: 0, y: 11 }, say(top)));
  const label = `${word(measure)}, ${word("last_90")}`;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, "data-measure": measure }, pieces);
}

function table({ daily, holidays }, measure) {
  const [key, say] = MEASURES[measure];
  const rows = [...daily].reverse().map((day) => {
    const holiday = holidays.find(({ from, to }) => from <= day.date && day.date <= to);
    return h("tr", {}, h("td", {}, date(day.date), holiday ? ` · ${holiday.name}` : null), h("td", { class: "number" }, say(day[key])));
  });
  return h(
    "details",
    {},
    h("summary", {}, word("as_table")),
    h("table", { class: "plain" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, word("day")), h("th", { scope: "col", class: "number" }, word(measure)))), h("tbody", {}, rows)),
  );
}
