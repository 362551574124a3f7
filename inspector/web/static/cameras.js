// The view from two metres: a card for each camera, with its last verdict, its picture and its recent past.

import { bars, byId, facts, keyed, say, set } from "./dom.js";
import { handshake, resultOf } from "./line.js";
import { drawTimeline, summary } from "./timeline.js";
import { AWAY, because, CAUSES, DROPS, duration, inWords, number, STATES, VERDICTS } from "./words.js";

const STALE_S = 60; // so old, the verdict on a part says nothing of the next one
const LOAD_MS = 10_000; // a picture that has not come by then is asked for anew

const parts = (card) => Object.fromEntries([...card.querySelectorAll("[data-of]")].map((node) => [node.dataset.of, node]));
const partsOf = new WeakMap();

function make() {
  const card = byId("camera").content.firstElementChild.cloneNode(true);
  partsOf.set(card, parts(card));
  return card;
}

// For what a camera waits of which nobody knows when it comes; to a watched folder no picture may come for hours.
function waits(camera) {
  if (camera.on_trigger) return "for a trigger";
  if (camera.on_motion) return "for a part";
  return camera.last_frame_age_s > STALE_S ? "for a picture" : "";
}

// What the barrier in the picture sees.
function barrier(camera) {
  if (!camera.on_motion) return null;
  const seen = camera.covered === null ? "learning" : `${Math.round(camera.covered * 100)} % covered`;
  return `${seen}, ${number(camera.counters.parts)} parts`;
}

// The last verdict while it is one on what is there now: not from before the camera was away, nor long ago.
function present(camera) {
  const last = camera.last_verdict;
  if (!last || last.stream_epoch !== camera.stream_epoch) return null;
  return waits(camera) && last.ago_s > STALE_S ? null : last;
}

// What is to be read from afar: [tone, shape, word, what].
function headline(camera) {
  const [state, tone] = STATES[camera.state] ?? [camera.state, "none"];
  if (tone === "bad") return ["bad", "away", `Camera ${state}`, AWAY[camera.cause] ?? ""];
  const last = present(camera);
  if (camera.state === "connecting") return ["none", "away", "Connecting", ""];
  if (!last && camera.state === "ended") return ["none", "none", "Ended", "no more pictures come"];
  if (!last) return ["none", "none", waits(camera) ? "Waiting" : "No verdict yet", waits(camera)];
  const [word, verdictTone] = VERDICTS[last.verdict] ?? [last.verdict, "none"];
  return [verdictTone, verdictTone, word, last.label ? inWords(last.label) : (CAUSES[last.cause] ?? last.cause ?? "")];
}

export function toneOf(camera) {
  return headline(camera)[0];
}

// Of the pictures on the cards those whose next one is on its way: however slow the link, one request of a camera.
const loading = new WeakSet();

// A picture is shown when it is there, so that none flickers, and says itself what was said of it.
function load(of, name, still) {
  const image = of.still;
  const next = new Image();
  const end = () => {
    clearTimeout(timer);
    next.onload = next.onerror = null;
    loading.delete(image);
  };
  const timer = setTimeout(() => {
    end();
    next.src = "";
  }, LOAD_MS);
  next.onerror = end; // the next update asks again
  next.onload = () => {
    end();
    image.dataset.still = still.of;
    image.src = next.src;
    image.hidden = of.seen.hidden = false;
    const [word, tone] = VERDICTS[still.verdict] ?? [still.verdict, "none"];
    set(of.seen, "class", `seen ${tone}`);
    say(of.seen, `${{ good: "✓", bad: "✗", doubt: "?" }[tone] ?? "–"} ${still.label ? inWords(still.label) : word}`);
  };
  loading.add(image);
  next.src = `api/cameras/${name}/frame?of=${still.of}`;
}

function showStill(of, name, still, away) {
  const image = of.still;
  set(image, "alt", `A recent picture of ${name}`);
  say(of.blank, away ? "no picture: the camera is away" : "the next judged picture comes here");
  image.hidden = of.seen.hidden = !still || away || !image.src;
  if (still && !away && image.dataset.still !== still.of && !loading.has(image)) load(of, name, still);
}

function showLine(line, name) {
  const camera = line?.cameras?.[name];
  if (!camera) return null;
  return [handshake(camera), camera.part === null ? null : `part ${camera.part}`, resultOf(camera)].filter(Boolean).join(", ");
}

function show(card, name, known) {
  const of = partsOf.get(card);
  const camera = known.status.cameras[name];
  const [state, stateTone] = STATES[camera.state] ?? [camera.state, "none"];
  const [tone, form, word, what] = headline(camera);
  const away = stateTone === "bad";
  const last = away ? null : present(camera);
  set(card, "class", `card camera ${tone}${camera.quality === "degraded" && !away ? " degraded" : ""}`);
  set(card, "data-camera", name);
  set(of.name, "id", `camera-${name}`);
  set(card, "aria-labelledby", `camera-${name}`);
  say(of.name, name);
  say(of.state, state);
  set(of.state, "class", `chip ${stateTone}`);
  of.quality.hidden = camera.quality !== "degraded";
  set(of.verdict, "class", `verdict ${tone}`);
  set(of.shape, "href", `#shape-${form}`);
  say(of.word, word);
  say(of.what, what);
  showStill(of, name, known.stills[name], away);
  const part = last?.part_id ? `part ${last.part_id}: ` : "";
  say(of.why, away || !last ? (camera.detail || "") : part + because(last.reasons));
  bars(of.bars, last?.probabilities, 3, inWords);
  const rows = known.history.cameras.get(name) ?? new Map();
  drawTimeline(of.timeline, rows, known.history);
  const said = summary(rows, known.history);
  say(of.summary, said);
  set(of.timeline, "aria-label", `Verdicts of ${name}, ${said}`);
  showCounters(of, camera, showLine(known.status.line, name));
}

function showCounters(of, camera, line) {
  const { counters } = camera;
  const dropped = Object.entries(counters.dropped).filter(([, count]) => count);
  facts(of.figures, [
    ["frames/s", camera.fps === null ? "–" : camera.fps.toFixed(1)],
    ["last frame", camera.last_frame_age_s === null ? "–" : `${duration(camera.last_frame_age_s)} ago`],
    ["last verdict", camera.last_verdict ? `${duration(camera.last_verdict.ago_s)} ago` : "–"],
    ["arrived", number(counters.frames_in)], ["judged", number(counters.judged)],
    ["barrier", barrier(camera)], ["line", line],
  ]);
  const total = dropped.reduce((sum, [, count]) => sum + count, 0);
  of.drops.hidden = !total;
  say(of.drops.firstElementChild, `${number(total)} not judged: why`);
  facts(of.drops.lastElementChild, dropped.map(([cause, count]) => [DROPS[cause] ?? cause, number(count)]));
}

export function showCameras(known) {
  keyed(byId("cameras"), Object.keys(known.status.cameras), make, (card, name) => show(card, name, known));
}
