// The list of events: filters, rows of like events, and the way to their pictures.

import { byId, el, keyed, say, set } from "./dom.js";
import { grouped, knowledge } from "./knowledge.js";
import { lookAt } from "./marking.js";
import { clock, day, inWords, kindInWords, kindOf, sentence, toneOf } from "./words.js";

const MOST_ROWS = 60;
const filters = byId("filters");
const MARKED = { "": "all", none: "not marked", any: "marked", right: "marked right", wrong: "marked wrong" };

function options(select, pairs) {
  const wanted = JSON.stringify(pairs);
  if (select.dataset.options === wanted) return;
  const chosen = select.value;
  select.dataset.options = wanted;
  select.replaceChildren(...pairs.map(([value, text]) => el("option", { value }, text)));
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}

function offer() {
  const events = [...knowledge.events.values()];
  const of = (key, text) => [...new Map(events.filter(key).map((event) => [key(event), text(event)]))].sort();
  const cameras = new Set([...Object.keys(knowledge.status.cameras), ...events.map((event) => event.camera).filter(Boolean)]);
  options(filters.camera, [["", "all"], ...[...cameras].map((name) => [name, name])]);
  options(filters.kind, [["", "all"], ...of(kindOf, kindInWords)]);
  options(filters.label, [["", "all"], ...of((event) => event.label, (event) => inWords(event.label))]);
  options(filters.marked, Object.entries(MARKED));
}

function wanted(event) {
  const { camera, kind, label, marked } = filters;
  const mark = knowledge.marks.get(event.id)?.mark;
  return (!camera.value || event.camera === camera.value)
    && (!kind.value || kindOf(event) === kind.value)
    && (!label.value || event.label === label.value)
    && (!marked.value || (marked.value === "none" ? !mark : marked.value === "any" ? Boolean(mark) : mark === marked.value));
}

const keys = new WeakMap(); // event → key of the row that it was in

// A row keeps its element, and so its focus, though its oldest events are forgotten.
function rowsOf(groups) {
  const rows = new Map();
  for (const group of groups) {
    const [first] = group.events;
    let key = keys.get(first) ?? first.id;
    if (rows.has(key)) key = first.id;
    while (rows.has(key)) key += "+";
    for (const event of group.events) keys.set(event, key);
    rows.set(key, group);
  }
  return rows;
}

const says = (event) => sentence(event) + (event.detail ?? "");

function make() {
  const thumb = el("button", { type: "button", class: "thumb" });
  const row = el(
    "li", { class: "event" }, thumb,
    el("div", { class: "text" }, el("p", { class: "told" }), el("p", { class: "detail soft" }), el("p", { class: "when small" })),
    el("div", { class: "right" }),
  );
  thumb.addEventListener("click", () => lookAt(row.events, row.events.findIndex((event) => event.picture)));
  return row;
}

function when(events) {
  const [first, last] = [events[0].time, events.at(-1).time];
  const today = day(last) === day(Date.now()) ? "" : `${day(last)}, `;
  return today + (clock(first) === clock(last) ? clock(last) : `${clock(first)} – ${clock(last)}`);
}

function marksOf(events) {
  const counts = { right: 0, wrong: 0 };
  for (const event of events) {
    const mark = knowledge.marks.get(event.id)?.mark;
    if (mark) counts[mark] += 1;
  }
  return [["right", "good", "✓"], ["wrong", "bad", "✗"]].filter(([word]) => counts[word]).map(
    ([word, tone, sign]) => el("span", { class: `chip ${tone}` }, `${sign} ${events.length > 1 ? `${counts[word]} ` : ""}${word}`),
  );
}

function show(row, group) {
  row.events = group.events.toReversed();
  const newest = row.events[0];
  const [thumb, text, right] = row.children;
  set(row, "class", `event ${toneOf(newest)}`);
  say(text.children[0], sentence(newest));
  const part = newest.part_id ? `part ${newest.part_id}` : "";
  say(text.children[1], [newest.camera ?? "station", part, newest.detail].filter(Boolean).join(" · "));
  say(text.children[2], when(group.events));
  showThumb(thumb, row.events);
  right.replaceChildren(
    ...marksOf(group.events),
    ...(group.events.length > 1 ? [el("span", { class: "times" }, `× ${group.events.length}`)] : []),
  );
}

function showThumb(thumb, events) {
  const newest = events[0];
  const picture = events.find((event) => event.picture)?.picture;
  thumb.hidden = !newest.label;
  set(thumb, "aria-label", `Look at: ${newest.camera}, ${sentence(newest)}, ${clock(newest.time)}`);
  if (thumb.dataset.picture === (picture ?? "")) return;
  thumb.dataset.picture = picture ?? "";
  const uri = picture?.split("/").map(encodeURIComponent).join("/");
  thumb.replaceChildren(uri ? el("img", { src: `api/evidence/${uri}?small=true`, alt: "", loading: "lazy" }) : "no picture");
}

export function showEvents() {
  offer();
  const found = [...knowledge.events.values()].filter(wanted);
  const groups = grouped(found, says).slice(0, MOST_ROWS);
  const byKey = rowsOf(groups);
  const list = byId("events");
  list.querySelector(".empty")?.remove();
  keyed(list, byKey.keys(), make, (row, key) => show(row, byKey.get(key)));
  if (!groups.length) {
    const why = knowledge.events.size ? "No event fits these filters." : "No events yet.";
    list.append(el("li", { class: "empty card" }, why));
  }
  const all = knowledge.events.size;
  say(byId("events-count"), found.length === all ? `${all} known here` : `${found.length} of ${all} known here`);
}

filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("change", showEvents);
