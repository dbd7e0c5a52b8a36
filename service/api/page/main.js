// Puts the page together: the stream feeds table and counters, filters choose the stream, dialogs act.

import { find, remember } from "./dom.js";
import { Live } from "./live.js";
import { Drawer } from "./record.js";
import { Table } from "./table.js";
import { Tiles } from "./tiles.js";
import { atRisk, isOpen } from "./warnings.js";
import { count, sentence, speak, spoken, whenSpoken, word } from "./words.js";

const MOST = 300;
const TELL_MS = 5000; // a screen reader is told of news so often, and no more
const TYPING_MS = 400;

const filters = find("filters");
const chosen = () => Object.fromEntries([...new FormData(filters)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
const AGAIN_MS = 10000; // what is withheld is not streamed but asked for again

const table = new Table({ look: (who) => drawer.look(who), act });
const drawer = new Drawer({ act });
const tiles = new Tiles(choose, chosen);
let link = "connecting";
let missing = [];
let untold = 0;

const live = new Live({
  open(warnings, said) {
    table.replace(warnings);
    missing = said.missing_partitions;
    note();
    tiles.refresh();
  },
  news(warning, transition) {
    table.put(warning, transition);
    tiles.count(warning, transition);
    if (transition === "raised" && isOpen(warning)) untold += 1;
  },
  state(name) {
    link = name;
    showLink();
  },
});

function showLink() {
  find("link").dataset.state = link;
  find("link-text").textContent = word(link);
}

function note() {
  const notice = find("notice");
  notice.hidden = !missing.length;
  notice.textContent = missing.length ? word("incomplete", missing.join(", ")) : "";
}

function choose(name, value) {
  filters.elements[name].value = value;
  follow();
}

let typing;
function follow() {
  clearTimeout(typing);
  tiles.draw();
  const { suppressed, ...wanted } = chosen();
  table.nothing = suppressed ? ["nothing_withheld"] : ["nothing", "nothing_yet"];
  table.clear();
  clearTimeout(looking);
  if (suppressed) {
    live.stop();
    ask(new URLSearchParams({ ...wanted, suppressed, limit: MOST }).toString());
  } else live.follow(new URLSearchParams({ ...wanted, open: MOST }).toString());
}

let looking;
let asking;
async function ask(query) {
  asking = query;
  try {
    const answer = await fetch(`/v1/warnings?${query}`);
    const told = await answer.json();
    if (asking !== query || !chosen().suppressed) return; // something else is wanted by now
    if (answer.ok) {
      table.replace(told.warnings);
      missing = told.missing_partitions;
    }
    link = answer.ok ? "live" : "reconnecting";
  } catch {
    link = "reconnecting";
  }
  showLink();
  note();
  clearTimeout(looking);
  if (asking === query && chosen().suppressed) looking = setTimeout(() => ask(query), AGAIN_MS);
}

const ACTS = { acknowledge: ["take_over", []], snooze: ["put_off", ["until"]], resolve: ["settle", ["outcome"]] };
const ASKED = ["until", "outcome"]; // by one act or another

let asked;
function act(name, warning) {
  asked = { name, warning };
  const [title, fields] = ACTS[name];
  for (const [id, said] of [["dialog-title", title], ["do", name]]) {
    find(id).dataset.word = said;
    find(id).textContent = word(said);
  }
  find("dialog-why").textContent = `${warning.subscriber_id} · ${sentence(warning.why)} ${atRisk(warning)}`;
  find("dialog-error").hidden = true;
  const { elements } = find("act");
  for (const field of ASKED) {
    find(field).hidden = elements[field].disabled = !fields.includes(field);
  }
  elements.by.value = remember("by") ?? "";
  elements.note.value = "";
  find("dialog").showModal();
  elements[elements.by.value ? (fields[0] ?? "note") : "by"].focus();
}

async function send(event) {
  event.preventDefault();
  const said = Object.fromEntries([...new FormData(find("act"))].map(([name, value]) => [name, value.trim()]));
  said.note ||= null;
  remember("by", said.by);
  const problem = await post(asked, said);
  if (!problem) {
    find("dialog").close();
    return;
  }
  find("dialog-error").textContent = problem;
  find("dialog-error").hidden = false;
}

async function post({ name, warning }, said) {
  try {
    const answer = await fetch(`/v1/warnings/${encodeURIComponent(warning.id)}/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
    });
    const told = await answer.json();
    if (!answer.ok) return told.detail;
    const { applied, ...now } = told;
    if (!applied) find("said").textContent = word("accepted");
    // The stream tells the same; whoever looks sees it at once.
    if (applied) table.put({ ...warning, snoozed_until: null, ...now });
    drawer.again(warning);
    return null;
  } catch {
    return word("unreachable");
  }
}

filters.addEventListener("change", follow);
filters.addEventListener("input", (event) => {
  if (event.target.tagName !== "INPUT") return;
  clearTimeout(typing);
  typing = setTimeout(follow, TYPING_MS);
});
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(follow));
find("filtering").addEventListener("click", (event) => {
  const isOpened = filters.classList.toggle("opened");
  event.currentTarget.setAttribute("aria-expanded", String(isOpened));
});
find("order").addEventListener("change", (event) => table.sort(event.target.value));
find("pause").addEventListener("click", () => table.pause(!table.isPaused));
find("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  drawer.look(find("who").value.trim());
});
find("act").addEventListener("submit", send);
find("cancel").addEventListener("click", () => find("dialog").close());
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => speak(button.dataset.language));
}
whenSpoken(() => {
  showLink();
  note();
  tiles.redraw();
  table.redraw();
  drawer.draw();
});
setInterval(() => {
  if (untold) find("said").textContent = word("news", count(untold));
  untold = 0;
}, TELL_MS);

speak(spoken());
tiles.start();
follow();
