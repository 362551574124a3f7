// The station itself: engines, broker and outbox, evidence, the line, throughput and latency.

import { drawChart, makeChart } from "./charts.js";
import { byId, el, facts, keyed, say, set } from "./dom.js";
import { makeLine, showLine } from "./line.js";
import { BROKER, duration, megabytes, number } from "./words.js";

const panel = (title) => el("section", { class: "card panel" }, el("header", {}, el("h3", {}, title), el("p", { class: "chip" })), el("dl", { class: "facts" }), el("p", { class: "small soft" }));
const MEAN_MS = 5, GREATEST_MS = 6;
let panels = null;

function make() {
  const checks = el("section", { class: "card panel wide" }, el("h3", {}, "Readiness"), el("ul", { class: "checks" }));
  panels = {
    line: makeLine(), engine: panel("Engine"), broker: panel("Broker and outbox"), evidence: panel("Evidence pictures"), checks,
    judged: makeChart("Frames judged a second"), mean: makeChart("Age at the verdict, mean"),
    worst: makeChart("Age at the verdict, greatest"),
  };
  const { judged: first, mean, worst, ...rest } = panels;
  byId("panels").append(...Object.values(rest));
  byId("charts").append(first, mean, worst);
}

function put(home, chip, tone, pairs, note) {
  const [header, list, text] = home.children;
  header.lastElementChild.hidden = !chip;
  say(header.lastElementChild, chip);
  set(header.lastElementChild, "class", `chip ${tone}`);
  facts(list, pairs);
  say(text, note ?? "");
}

function showEngine({ engines, step, mode }) {
  const all = Object.entries(engines);
  const reasons = all.filter(([, engine]) => engine.reason).map(([, engine]) => engine.reason);
  const degraded = all.some(([, engine]) => engine.degraded);
  put(panels.engine, all.length ? (degraded ? "degraded" : "as asked") : "loading", degraded ? "bad" : all.length ? "good" : "doubt", [
    ...all.flatMap(([stage, engine]) => [
      [stage === "screen" ? "sees every frame" : "confirms doubts", `${engine.name} ${engine.version}`],
      ["runtime", `${engine.runtime}, ${engine.precision}`],
    ]),
    ["mode", mode === "observe" ? "observe: no signal to the line" : mode],
  ], reasons.join("; ") || (all.length ? "" : step));
}

function showBroker({ broker, outbox }) {
  const up = broker.state === "connected", off = broker.state === "off";
  const blocked = Object.entries(broker.blocked ?? {}).map(([topic, why]) => `${topic}: ${why}`);
  put(panels.broker, off ? "no broker" : (BROKER[broker.state] ?? broker.state), up ? "good" : off ? "none" : "bad", [
    ["broker", BROKER[broker.state] ?? broker.state],
    [off ? "events kept here" : "events waiting", outbox ? number(outbox.waiting) : null],
    ["oldest of them", outbox?.waiting ? duration(outbox.oldest_s) : null],
    ["sent", outbox ? number(outbox.sent_total) : null],
    ["refused by the broker", outbox?.parked ? number(outbox.parked) : null],
    ["given up, for want of room", outbox?.shed_total ? number(outbox.shed_total) : null],
    ["room taken", outbox ? `${megabytes(outbox.bytes)} of ${megabytes(outbox.max_bytes)}` : null],
  ], [outbox?.fault, broker.reason, ...blocked].filter(Boolean).join("; "));
}

function showEvidence({ evidence, free_bytes: free }) {
  const left = evidence?.free_bytes ?? free;
  const room = ["disk free", left === null ? null : megabytes(left)]; // null: the disk does not say
  if (!evidence) {
    put(panels.evidence, "none kept", "none", [room], "The station file has no evidence section.");
    return;
  }
  put(panels.evidence, evidence.fault ? "not now" : "kept", evidence.fault ? "bad" : "good", [
    ["pictures", number(evidence.files)],
    ["room taken", `${megabytes(evidence.bytes)} of ${megabytes(evidence.max_bytes)}`],
    room,
  ], evidence.fault);
}

function showChecks(ready) {
  keyed(panels.checks.lastElementChild, ready.facts.map((fact) => fact.name), () => el("li", {}, el("span"), el("p")), (row, name) => {
    const fact = ready.facts.find((each) => each.name === name);
    set(row.firstElementChild, "class", fact.ok ? "good" : "bad");
    set(row.firstElementChild, "role", "img");
    set(row.firstElementChild, "aria-label", fact.ok ? "well" : "not well");
    say(row.firstElementChild, fact.ok ? "✓" : "✗");
    say(row.lastElementChild, `${name}: ${fact.detail}`);
  });
}

// The finished steps of each camera; the present one is not over and would look like a drop.
function curves(history, names, valueOf, inWords) {
  return names.map((name) => {
    const rows = history.cameras.get(name) ?? new Map();
    const [begun] = rows.keys();
    const values = Array.from({ length: history.steps - 1 }, (_, at) => {
      const step = history.now - history.steps + 1 + at;
      return step < begun || begun === undefined ? null : valueOf(rows.get(step));
    });
    const last = values.findLast((value) => value !== null);
    return { name, values, now: last === undefined ? "–" : inWords(last) };
  });
}

const judged = (row) => (row ? row[1] + row[2] + row[3] + row[4] : 0);

function showCharts({ history, status }) {
  const names = Object.keys(status.cameras);
  const minutes = Math.round((history.step_s * history.steps) / 60);
  const ms = (value) => (value < 1000 ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : `${(value / 1000).toFixed(1)} s`);
  const axis = (value) => (value < 1000 ? `${value} ms` : `${value / 1000} s`);
  const age = (at) => (row) => (row ? row[at] : null);
  drawChart(panels.judged, curves(history, names, (row) => judged(row) / history.step_s, (value) => value.toFixed(1)), { unit: "frames a second", minutes });
  drawChart(panels.mean, curves(history, names, age(MEAN_MS), ms), { unit: "from arrival to verdict", minutes, axis });
  drawChart(panels.worst, curves(history, names, age(GREATEST_MS), ms), { unit: "from arrival to verdict", minutes, axis });
}

export function showStation(known) {
  if (!panels) make();
  showLine(panels.line, known.status.line);
  showEngine(known.status);
  showBroker(known.status);
  showEvidence(known.status);
  showChecks(known.ready);
  showCharts(known);
}
