"use strict";
// Asks for the status once a second and shows it. What the station says is put in as text only.

const STATES = { running: "good", connecting: "doubt", stalled: "bad", lost: "bad", failed: "bad" };
const LABELS = {
  bad_lighting: "bad lighting", fastfading: "transmission loss", gblur: "out of focus",
  jp2k: "JPEG 2000 damage", jpeg: "JPEG damage", motion_blur: "motion blur", refimgs: "good", wn: "noise",
};
const CAUSES = { decode: "damaged picture", too_small: "picture too small", too_large: "picture too large", engine_error: "engine failed" };
const EVENTS = {
  "inspector.frame.rejected.v1": ["rejected", ""], "inspector.frame.judged.v1": ["judged", ""],
  "inspector.quality.degraded.v1": ["quality degraded", "bad"], "inspector.quality.recovered.v1": ["quality recovered", "good"],
  "inspector.camera.lost.v1": ["camera lost", "bad"], "inspector.camera.restored.v1": ["camera restored", "good"],
  "inspector.events.dropped.v1": ["events given up", "bad"],
  "inspector.line.fault.v1": ["line fault", "bad"], "inspector.line.restored.v1": ["line restored", "good"],
};
const HEARTBEAT = "inspector.station.status.v1";
const MOST_EVENTS = 2000;
const MOST_ROWS = 40;
const byId = (id) => document.getElementById(id);
const inWords = (label) => LABELS[label] ?? label;
const NAMED = new RegExp(`\\b(${Object.keys(LABELS).join("|")})\\b`, "g");

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
  const meter = document.createElement("div");
  const part = document.createElement("div");
  const number = document.createElement("span");
  name.textContent = inWords(label);
  meter.className = "meter";
  meter.role = "meter";
  meter.ariaLabel = name.textContent;
  meter.ariaValueNow = p;
  meter.ariaValueMin = 0;
  meter.ariaValueMax = 1;
  part.style.width = `${100 * p}%`;
  meter.append(part);
  number.textContent = `${Math.round(100 * p)} %`;
  row.append(name, meter, number);
  return row;
}

function showCamera(card, name, camera) {
  const part = (what) => card.querySelector(`[data-of=${what}]`);
  const up = camera.state === "running" || camera.state === "ended";
  const away = STATES[camera.state] === "bad";
  const last = up ? camera.last_verdict : null;
  card.className = `camera ${away ? "away" : (last?.verdict ?? "")}`;
  part("name").textContent = name;
  part("state").textContent = camera.state;
  part("state").className = `chip ${STATES[camera.state] ?? ""}`;
  part("quality").hidden = camera.quality !== "degraded";
  const none = camera.on_trigger ? "waits for a trigger" : "no verdict yet";
  part("verdict").textContent = last ? last.verdict : (up ? none : camera.state);
  part("label").textContent = last ? (last.label ? inWords(last.label) : (CAUSES[last.cause] ?? last.cause ?? "")) : "";
  part("why").textContent = up
    ? ((last?.part_id ? `part ${last.part_id}: ` : "") + (last?.reasons.join("; ").replace(NAMED, inWords) ?? ""))
    : (camera.detail || camera.cause || "");
  const rows = Object.entries(last?.probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 3);
  part("bars").replaceChildren(...rows.map(bar));
  const counters = camera.counters;
  const dropped = Object.values(counters.dropped).reduce((sum, count) => sum + count, 0);
  put(part("counts"), [
    ["frames/s", camera.fps === null ? "–" : camera.fps.toFixed(1)],
    ["age", camera.last_frame_age_s === null ? "–" : `${camera.last_frame_age_s.toFixed(1)} s`],
    ["arrived", counters.frames_in], ["judged", counters.judged], ["dropped", dropped],
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
  byId("version").textContent = `Inspector ${status.version}`;
  document.title = `${status.station} – Inspector`;
  byId("phase").textContent = status.phase;
  byId("phase").className = `chip ${status.phase === "serving" ? "good" : "doubt"}`;
  byId("observing").hidden = status.mode !== "observe";
  const engines = Object.values(status.engines).map((e) => `${e.name} ${e.version}, ${e.runtime} ${e.precision}`);
  const off = status.broker.state === "off";
  put(byId("facts"), [
    ["engine", engines.join(" → ") || status.step],
    ["broker", off ? "none" : status.broker.state],
    [off ? "events kept here" : "events waiting", status.outbox?.waiting ?? null],
    ["mode", status.mode],
  ]);
}

// Cameras have their own cards, and the phase its own chip: here is what else is not well.
function showTroubles(report) {
  const bad = report.facts.filter((fact) => !fact.ok && fact.name !== "phase" && !fact.name.startsWith("camera "));
  byId("troubles").hidden = bad.length === 0;
  put(byId("troubles").querySelector("dl"), bad.map((fact) => [fact.name, fact.detail]));
}

const seen = new Map(); // id → event, oldest first: what was told while the page is open

function remember(events) {
  for (const event of events.toReversed()) {
    if (event.type !== HEARTBEAT) seen.set(event.id, event);
  }
  for (const id of seen.keys()) {
    if (seen.size <= MOST_EVENTS) break;
    seen.delete(id);
  }
}

function whatOf({ data }) {
  if (data.label) return inWords(data.label);
  if (data.types) return `${data.count ?? "an unknown number"}: ${data.cause.replace("_", " ")}`;
  if (typeof data.lost_s === "number") return `after ${data.lost_s.toFixed(1)} s`;
  return data.detail || (CAUSES[data.cause] ?? data.cause ?? "");
}

// Frames of one camera that are rejected in a row for the same reason are one line with a count.
function grouped() {
  const groups = [];
  const newestOf = new Map();
  for (const event of seen.values()) {
    const who = event.data.camera ?? event.data.station;
    const what = whatOf(event);
    const open = newestOf.get(who);
    if (open && event.type.startsWith("inspector.frame.") && open.event.type === event.type
      && open.what === what && open.event.data.stream_epoch === event.data.stream_epoch) {
      open.count += 1;
      open.last = event.time;
      open.picture = event.data.evidence?.uri ?? open.picture;
    } else {
      const picture = event.data.evidence?.uri;
      const group = { event, who, what, count: 1, first: event.time, last: event.time, picture };
      newestOf.set(who, group);
      groups.push(group);
    }
  }
  return groups.sort((a, b) => Date.parse(b.last) - Date.parse(a.last)).slice(0, MOST_ROWS);
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

function pictureLink(uri) {
  const link = document.createElement("a");
  link.href = `api/evidence/${uri}`;
  link.target = "_blank";
  link.className = "picture";
  link.textContent = "picture";
  return link;
}

function eventRow({ event, who, what, count, first, last, picture }) {
  const row = document.createElement("tr");
  const [name, tone] = EVENTS[event.type] ?? [event.type, ""];
  row.className = tone;
  const [from, to] = [clock(first), clock(last)];
  const cells = [from === to ? to : `${from} – ${to}`, who, name, what, event.type.startsWith("inspector.frame.") ? count : ""];
  row.append(...cells.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  }));
  if (picture) row.children[3].append(" ", pictureLink(picture));
  row.lastChild.className = "count";
  return row;
}

async function get(path, alsoGood = 200) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(4000) });
  if (!answer.ok && answer.status !== alsoGood) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function turn() {
  try {
    const [status, report, events] = await Promise.all([
      get("api/status"), get("readyz", 503), get(`api/events?limit=${seen.size ? 100 : 500}`),
    ]);
    showStation(status);
    showTroubles(report);
    showCameras(status.cameras);
    remember(events);
    if (seen.size) byId("events").replaceChildren(...grouped().map(eventRow));
    document.body.classList.remove("stale");
  } catch {
    byId("phase").textContent = "station does not answer";
    byId("phase").className = "chip bad";
    document.body.classList.add("stale");
  }
  setTimeout(turn, 1000);
}

turn();
