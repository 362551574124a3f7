// Follows the station: `hello` first, then updates, and all over again after every break.

const SILENT_MS = 5000;
const AGAIN_MS = 1000;

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

function shown() {
  return new Promise((done) => {
    if (!document.hidden) return done();
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
  });
}

// What the station says where it refuses, in its own words.
async function refusal(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return text || `${answer.status}`;
  }
}

export function eventsIn(text) {
  const parts = text.split("\n\n");
  const rest = parts.pop();
  const found = parts.map((part) => {
    const fields = Object.fromEntries(part.split("\n").map((line) => line.split(/: (.*)/s)));
    return fields.data === undefined ? null : [fields.event, JSON.parse(fields.data)];
  });
  return [found.filter(Boolean), rest];
}

async function listen(signal, alive, take) {
  const answer = await fetch("api/stream", { signal, headers: { accept: "text/event-stream" } });
  if (!answer.ok) throw new Error(await refusal(answer));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    signal.throwIfAborted(); // what was on its way is not shown any more
    if (done) return;
    alive();
    const [events, rest] = eventsIn(text + value);
    text = rest;
    for (const [kind, document] of events) take(kind, document);
  }
}

// take(kind, document) for each message, lost(why) at each break, unseen() when the page is hidden: one that nobody
// sees asks for nothing, and what it shows is old when it is seen again.
export async function follow(take, lost, unseen) {
  for (;;) {
    await shown();
    const controller = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(), SILENT_MS);
    };
    let seen = true;
    const hide = () => {
      if (!document.hidden) return;
      seen = false;
      controller.abort();
      unseen(); // at once: a tablet that sleeps may let nothing run after this
    };
    document.addEventListener("visibilitychange", hide);
    alive();
    let why = "";
    try {
      await listen(controller.signal, alive, take);
    } catch (error) {
      why = error instanceof TypeError || error.name === "AbortError" ? "" : error.message;
    }
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", hide);
    if (seen) lost(why);
    await pause(AGAIN_MS);
  }
}
