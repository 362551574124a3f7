// All that the page knows of the station, put together from the stream. No elements here.

const MOST_EVENTS = 2000;

export const knowledge = {
  status: null, // the station's status document
  ready: null, // the report of readiness
  stills: {}, // camera → name of its newest small picture
  viewers: 0,
  labels: [], // of the engine
  events: new Map(), // id → event, oldest first
  marks: new Map(), // event id → {mark, label}
  history: { step_s: 2, steps: 300, now: 0, cameras: new Map() }, // camera → Map of step → row
};

export function take(kind, document) {
  const known = knowledge;
  if (kind === "hello") {
    known.events.clear();
    known.marks.clear();
    known.history.cameras.clear();
  }
  for (const key of ["status", "ready", "stills", "viewers", "labels"]) known[key] = document[key];
  for (const event of document.events) known.events.set(event.id, event);
  for (const id of known.events.keys()) {
    if (known.events.size <= MOST_EVENTS) break;
    known.events.delete(id);
  }
  for (const [id, mark] of Object.entries(document.marks)) {
    if (mark) known.marks.set(id, mark);
    else known.marks.delete(id);
  }
  remember(known.history, document.history);
}

function remember(history, { step_s, steps, now, cameras }) {
  Object.assign(history, { step_s, steps, now });
  for (const [name, rows] of Object.entries(cameras)) {
    if (!history.cameras.has(name)) history.cameras.set(name, new Map());
    const known = history.cameras.get(name);
    for (const row of rows) known.set(row[0], row);
    for (const step of known.keys()) {
      if (step > now - steps) break;
      known.delete(step);
    }
  }
  for (const name of history.cameras.keys()) {
    if (!(name in knowledge.status.cameras)) history.cameras.delete(name);
  }
}

// Frames of one camera that are told in a row and say the same are one row with a count. The row that was told of last
// is the first: by the order of the events, since the station's clock may have been put right.
export function grouped(events, says) {
  const groups = [];
  const newestOf = new Map();
  events.forEach((event, at) => {
    const who = event.camera ?? "";
    const open = newestOf.get(who);
    if (open && event.type.startsWith("inspector.frame.") && open.events[0].type === event.type
      && open.says === says(event) && open.events[0].stream_epoch === event.stream_epoch) {
      open.events.push(event);
      open.last = at;
    } else {
      const group = { says: says(event), events: [event], last: at };
      newestOf.set(who, group);
      groups.push(group);
    }
  });
  return groups.sort((a, b) => b.last - a.last);
}
