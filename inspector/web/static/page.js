// The dashboard of a station: follows the stream, and shows the view that is asked for.

import { showCameras, toneOf } from "./cameras.js";
import { byId, facts, say, set } from "./dom.js";
import { showEvents } from "./events.js";
import { knowledge, take } from "./knowledge.js";
import { lineChip } from "./line.js";
import { looking, show as showLook } from "./marking.js";
import { showStation } from "./station.js";
import { follow } from "./stream.js";
import "./theme.js";

const VIEWS = { cameras: showCameras, events: showEvents, station: showStation };
const PHASES = { serving: ["serving", "good"], starting: ["starting", "doubt"], stopping: ["stopping", "doubt"] };

let view = "cameras";

// The view that the address names; one that names none, as the way to the content does, leaves all as it is.
function asked() {
  const name = location.hash.replace("#/", "");
  return Object.hasOwn(VIEWS, name) ? name : view;
}

function turn() {
  view = asked();
  for (const name of Object.keys(VIEWS)) {
    byId(`view-${name}`).hidden = name !== view;
    set(document.querySelector(`.ways a[href="#/${name}"]`), "aria-current", name === view ? "page" : null);
  }
}

function showTop({ status, viewers }) {
  const bad = Object.values(status.cameras).filter((camera) => toneOf(camera) === "bad").length;
  document.title = `${bad ? `(${bad} bad) ` : ""}${status.station} – Inspector`;
  say(byId("station"), status.station);
  const [word, tone] = PHASES[status.phase] ?? [status.phase, "doubt"];
  say(byId("phase"), status.phase === "starting" ? `${word}: ${status.step}` : word);
  set(byId("phase"), "class", `chip ${tone}`);
  byId("observing").hidden = status.mode !== "observe";
  const line = lineChip(status.line);
  byId("line").hidden = !line;
  say(byId("line"), line?.[0]);
  set(byId("line"), "class", `chip ${line?.[1]}`);
  say(byId("version"), `Inspector ${status.version}`);
  say(byId("viewers"), viewers === 1 ? "1 page looks" : `${viewers} pages look`);
}

// Cameras have their own cards, and the phase its own chip: here is what else is not well.
function showTroubles({ ready }) {
  const bad = ready.facts.filter((fact) => !fact.ok && fact.name !== "phase" && !fact.name.startsWith("camera "));
  byId("troubles").hidden = bad.length === 0;
  facts(byId("troubles").querySelector("dl"), bad.map((fact) => [fact.name, fact.detail]));
}

function show() {
  if (!knowledge.status) return;
  showTop(knowledge);
  showTroubles(knowledge);
  VIEWS[view](knowledge);
  if (looking()) showLook();
}

// What is shown is not what is there now.
function fade(word, tone) {
  say(byId("phase"), word);
  set(byId("phase"), "class", `chip ${tone}`);
  byId("main").classList.add("stale");
}

addEventListener("hashchange", () => {
  if (asked() !== view) scrollTo(0, 0);
  turn();
  show();
  byId("main").focus({ preventScroll: true });
});
turn();
let version = null;
follow((kind, document) => {
  if (kind === "hello" && version && version !== document.status.version) location.reload(); // the page of the upgrade
  version = document.status.version;
  take(kind, document);
  byId("main").classList.remove("stale");
  show();
}, (why) => fade(why || "station does not answer", "filled bad"), () => fade("connecting", "none"));
