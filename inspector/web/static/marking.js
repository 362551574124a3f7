// One event at a time, large: its picture, what the station said, and what the operator says of it.

import { bars, byId, el, say, set } from "./dom.js";
import { knowledge } from "./knowledge.js";
import { adviceOn, because, clock, day, inWords, NO_PICTURE, sentence, toneOf } from "./words.js";

const dialog = byId("look");
const find = (what) => dialog.querySelector(what);
const picture = find("figure img");
const truth = find(".truth select");

let events = []; // newest first
let at = 0;
let naming = false; // marked wrong just now, or about to be

export function lookAt(list, first) {
  events = [...list];
  at = Math.max(0, first);
  naming = false;
  say(find(".said"), "");
  show();
  dialog.showModal();
}

function showPicture(event) {
  const uri = event.picture?.split("/").map(encodeURIComponent).join("/");
  picture.hidden = !uri;
  set(picture, "alt", `The judged picture of ${event.camera}`);
  if (uri) set(picture, "src", `api/evidence/${uri}`);
  else picture.removeAttribute("src");
  const why = event.no_evidence ? NO_PICTURE[event.no_evidence] ?? event.no_evidence : "This station keeps no pictures of it.";
  say(find(".nothing"), uri ? "" : `No picture was kept. ${why}`);
}

export function show() {
  const event = events[at];
  if (!event) return;
  const tone = toneOf(event);
  const mark = knowledge.marks.get(event.id);
  say(byId("look-title"), `${event.camera}, ${day(event.time)} ${clock(event.time)}`);
  showPicture(event);
  set(find(".verdict"), "class", `verdict ${tone}`);
  set(find(".verdict use"), "href", `#shape-${tone}`);
  say(find(".verdict .word"), sentence(event));
  say(find(".advice"), adviceOn(event.label));
  const part = event.part_id ? `Part ${event.part_id}. ` : "";
  say(find(".why"), part + because(event.reasons));
  bars(find(".bars"), event.probabilities, 4, inWords);
  for (const button of find(".buttons").children) {
    if (button.value) set(button, "aria-pressed", mark?.mark === button.value);
    else button.hidden = !mark;
  }
  offerLabels(event, mark);
  say(find(".steps span"), `${at + 1} of ${events.length}`);
  for (const button of find(".steps").querySelectorAll("button")) button.disabled = !events[at + Number(button.value)];
}

function offerLabels(event, mark) {
  find(".truth").hidden = !(naming || mark?.mark === "wrong");
  const key = `${event.id} ${knowledge.labels}`;
  if (truth.dataset.of !== key) {
    truth.dataset.of = key;
    const others = knowledge.labels.filter((label) => label !== event.label);
    truth.replaceChildren(
      el("option", { value: "" }, "not known"),
      ...others.map((label) => el("option", { value: label }, inWords(label))),
    );
  }
  if (document.activeElement !== truth) truth.value = mark?.label ?? "";
}

async function send(mark, label) {
  const event = events[at];
  say(find(".said"), "");
  try {
    const answer = await fetch(`api/events/${event.id}/mark`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ mark, label }),
      signal: AbortSignal.timeout(10000),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : "the station refuses it");
    if (told.mark) knowledge.marks.set(event.id, told);
    else knowledge.marks.delete(event.id);
    say(find(".said"), told.mark ? "Kept by the station." : "Taken back.");
  } catch (error) {
    say(find(".said"), `Not kept: ${error instanceof TypeError || error.name === "TimeoutError" ? "the station does not answer" : error.message}`);
  }
  show();
}

find(".buttons").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  naming = button.value === "wrong";
  send(button.value || null, null);
});
truth.addEventListener("change", () => send("wrong", truth.value || null));

function step(by) {
  if (!events[at + by]) return;
  at += by;
  naming = false;
  say(find(".said"), "");
  show();
}

find(".steps").addEventListener("click", ({ target }) => step(Number(target.closest("button")?.value ?? 0)));
dialog.addEventListener("keydown", (event) => {
  if (event.target === truth) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
export const looking = () => dialog.open;
