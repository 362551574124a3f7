"use strict";
// Asks for the status once a second and shows it. What the station says is put in as text only.

const STATES = { running: "good", connecting: "doubt", stalled: "bad", lost: "bad", failed: "bad" };
const LABELS = {
  bad_lighting: "bad lighting", fastfading: "transmission loss", gblur: "out of focus",
  jp2k: "JPEG 2000 damage", jpeg: "JPEG damage", motion_blur: "motion blur", refimgs: "good", wn: "noise",
};
const EVENTS = {
  "inspector.frame.rejected.v1": "frame rejected", "inspector.quality.degraded.v1": "quality degraded",
  "inspector.quality.recovered.v1": "quality recovered", "inspector.frame.judged.v1": "frame judged",
  "inspector.camera.lost.v1": "camera lost", "inspector.camera.restored.v1": "camera restored",
  "inspector.station.status.v1": "status", "inspector.events.dropped.v1": "events dropped",
};
const byId = (id) => document.getElementById(id);

function put(list, pairs) {
  list.replaceChildren(...pairs.filter(([, value]) => value !== null).map(([name, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }));
}

function bar([label, p]) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const meter = document.createElement("meter");
  const number = document.createElement("span");
  name.textContent = LABELS[label] ?? label;
  meter.value = p;
  meter.setAttribute("aria-label", name.textContent);
  number.textContent = `${Math.round(100 * p)} %`;
  row.append(name, meter, number);
  return row;
}

function showCamera(card, name, camera) {
  const part = (what) => card.querySelector(`[data-of=${what}]`);
  const last = camera.last_verdict;
  const up = camera.state === "running" || camera.state === "ended";
  card.className = `camera ${up && last ? last.verdict : ""}`;
  part("name").textContent = name;
  part("state").textContent = camera.state;
  part("state").className = `chip ${STATES[camera.state] ?? ""}`;
  part("verdict").textContent = up
    ? (last ? `${last.verdict}${last.label ? `: ${LABELS[last.label] ?? last.label}` : ""}` : "no verdict yet")
    : `camera ${camera.state}`;
  part("why").textContent = up ? (last?.reasons.join("; ") ?? "") : (camera.detail ?? camera.cause ?? "");
  const rows = Object.entries(last?.probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 3);
  part("bars").replaceChildren(...rows.map(bar));
  const counters = camera.counters;
  const dropped = Object.values(counters.dropped).reduce((sum, count) => sum + count, 0);
  put(part("counts"), [
    ["quality", camera.quality],
    ["frames/s", camera.fps === null ? null : camera.fps.toFixed(1)],
    ["in", counters.frames_in], ["judged", counters.judged], ["dropped", dropped],
    ["last frame", camera.last_frame_age_s === null ? null : `${camera.last_frame_age_s.toFixed(1)} s ago`],
  ]);
}

function showCameras(cameras) {
  const home = byId("cameras");
  const cards = new Map([...home.children].map((card) => [card.dataset.camera, card]));
  for (const [name, camera] of Object.entries(cameras)) {
    let card = cards.get(name);
    if (!card) {
      card = byId("camera").content.firstElementChild.cloneNode(true);
      card.dataset.camera = name;
      home.append(card);
    }
    cards.delete(name);
    showCamera(card, name, camera);
  }
  cards.forEach((card) => card.remove());
}

function showStation(status) {
  byId("station").textContent = status.station;
  document.title = `${status.station} – Inspector`;
  byId("phase").textContent = status.phase;
  byId("phase").className = `chip ${status.phase === "serving" ? "good" : "doubt"}`;
  const engines = Object.values(status.engines)
    .map((e) => `${e.name} ${e.version}, ${e.runtime} ${e.precision}${e.degraded ? " (degraded)" : ""}`);
  put(byId("facts"), [
    ["engine", engines.join(" → ") || status.step],
    ["broker", status.broker.state],
    ["waiting events", status.outbox?.waiting ?? null],
    ["mode", status.mode],
  ]);
}

function eventRow(event) {
  const row = document.createElement("tr");
  const data = event.data;
  const label = data.label ? (LABELS[data.label] ?? data.label) : null;
  const cells = [
    new Date(event.time).toLocaleTimeString(), data.camera ?? data.station,
    EVENTS[event.type] ?? event.type,
    label ?? data.reason ?? data.cause ?? "",
  ];
  row.append(...cells.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  }));
  return row;
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(4000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function turn() {
  try {
    const [status, events] = await Promise.all([get("api/status"), get("api/events?limit=30")]);
    showStation(status);
    showCameras(status.cameras);
    if (events.length) byId("events").replaceChildren(...events.map(eventRow));
    document.body.classList.remove("stale");
  } catch {
    byId("phase").textContent = "station does not answer";
    byId("phase").className = "chip bad";
    document.body.classList.add("stale");
  }
  setTimeout(turn, 1000);
}

turn();
