// The handshake with the line's PLC, as the station's status tells it under `line`.

import { el, facts, keyed, say, set } from "./dom.js";
import { clock, inWords, lineAdvice, lineFault, number } from "./words.js";

const STATES = { connecting: ["connecting", "doubt"], connected: ["connected", "good"], away: ["not connected", "bad"] };
const SAFE = { normal: "no", reject: "every part is rejected", stop: "the line is to stop" };
const PHASES = {
  away: "PLC away", ready: "ready", busy: "busy: judging", valid: "result given, waits for acknowledge", fault: "fault",
};
const RESULTS = {
  accept: "accept", reject: "reject", uncertain: "uncertain", unjudgeable: "cannot judge", no_result: "no result in time",
};
const COUNTERS = [
  ["accept", "accept"], ["reject", "reject"], ["uncertain", "uncertain"], ["unjudgeable", "cannot judge"],
  ["no_result", "no result in time"], ["late", "late"], ["ack_timeouts", "not acknowledged"],
  ["gave_way", "not told: queue full"],
];
const COLUMNS = ["camera", "handshake", "part", "result", "last acknowledged", "parts waiting", ...COUNTERS.map(([, name]) => name)];

// The state in a word for the top of the page: [text, tone], or null without a line.
export function lineChip(line) {
  if (!line) return null;
  if (line.safe && line.safe !== "normal") return [`line: ${SAFE[line.safe] ?? line.safe}`, "bad"];
  const [text, tone] = STATES[line.state] ?? [line.state, "none"];
  return [`line: ${text}`, tone];
}

// The handshake of one camera in a few words.
export function handshake(camera) {
  const [fault] = camera.faults ?? [];
  return fault ? `fault: ${lineFault(fault)}` : (PHASES[camera.phase] ?? camera.phase);
}

export const resultOf = (camera) => RESULTS[camera.result] ?? camera.result;

// What is wrong, where, and what to do about it: [text], one for each fault.
function complaints(line) {
  const own = (line.faults ?? []).map((cause) => ["", cause]);
  const of = Object.entries(line.cameras ?? {}).flatMap(([name, { faults }]) => (faults ?? []).map((cause) => [`${name}: `, cause]));
  return [...own, ...of].map(([where, cause]) => `${where}${lineFault(cause)}. ${lineAdvice(cause)}`);
}

export function makeLine() {
  const head = el("tr", {}, ...COLUMNS.map((name, at) => el("th", { scope: "col", class: at > 4 ? "number" : null }, name)));
  const table = el("table", {}, el("thead", {}, head), el("tbody"));
  return el(
    "section", { class: "card panel wide", "aria-label": "Line" },
    el("header", {}, el("h3", {}, "Line (PLC)"), el("p", { class: "chip" })),
    el("p", { class: "detail" }), el("ul", { class: "complaints" }), el("dl", { class: "figures" }),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Handshake of each camera" }, table),
  );
}

function row(cells, name, camera) {
  const label = camera.label ? ` (${inWords(camera.label)})` : "";
  const values = [
    name, handshake(camera), camera.part ?? "–", camera.result ? resultOf(camera) + label : "–",
    camera.acknowledged_ms === null || camera.acknowledged_ms === undefined ? "–" : `after ${Math.round(camera.acknowledged_ms)} ms`,
    number(camera.waiting ?? 0), ...COUNTERS.map(([key]) => number(camera.counters?.[key] ?? 0)),
  ];
  values.forEach((value, at) => say(cells[at], value));
}

export function showLine(panel, line) {
  panel.hidden = !line;
  if (!line) return;
  const [text, tone] = STATES[line.state] ?? [line.state, "none"];
  const [header, detail, wrong, figures, scroll] = panel.children;
  say(header.lastElementChild, text);
  set(header.lastElementChild, "class", `chip ${tone}`);
  say(detail, line.detail ?? "");
  keyed(wrong, complaints(line), () => el("li"), say);
  facts(figures, [
    ["PLC", line.address], ["since", line.since ? clock(line.since) : null], ["heartbeat", line.heartbeat],
    ["safe state", SAFE[line.safe] ?? line.safe], ["signals", line.observing ? "observing: none are given" : "given"],
  ]);
  const cameras = line.cameras ?? {};
  const make = () => el("tr", {}, ...COLUMNS.map((_, at) => el(at ? "td" : "th", { scope: at ? null : "row", class: at > 4 ? "number" : null })));
  keyed(scroll.querySelector("tbody"), Object.keys(cameras), make, (each, name) => row(each.children, name, cameras[name]));
}
