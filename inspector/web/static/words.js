// What the station's words mean to the person who stands before it.

const LABELS = {
  bad_lighting: ["bad lighting", "The picture is too dark or too bright: look at the lamp, the exposure and the sun."],
  fastfading: ["transmission loss", "Parts of the picture got lost on the way: look at the cable, the radio link, the network."],
  gblur: ["out of focus", "The picture is not sharp: look at the lens, its distance, and whether the glass is clean."],
  jp2k: ["JPEG 2000 damage", "The camera compresses too much: raise its quality or its bit rate."],
  jpeg: ["JPEG damage", "The camera compresses too much: raise its quality or its bit rate."],
  motion_blur: ["motion blur", "The part moves during the exposure: shorten it, or add light."],
  refimgs: ["good", "The picture can be trusted."],
  wn: ["noise", "The picture is grainy: add light, or lower the camera's gain."],
};
export const inWords = (label) => LABELS[label]?.[0] ?? label;
export const adviceOn = (label) => LABELS[label]?.[1] ?? "";

// Word, and tone with its shape: good bad doubt none.
export const VERDICTS = {
  accepted: ["Accepted", "good"], rejected: ["Rejected", "bad"],
  uncertain: ["Uncertain", "doubt"], unjudgeable: ["Cannot judge", "none"],
};
export const CAUSES = {
  decode: "damaged picture", too_small: "picture too small", too_large: "picture too large", engine_error: "engine failed",
};
export const STATES = {
  running: ["running", "good"], connecting: ["connecting", "doubt"], stalled: ["stalled", "bad"],
  lost: ["lost", "bad"], failed: ["failed", "bad"], ended: ["ended", "none"],
};
export const AWAY = {
  refused: "the camera refuses the connection", timeout: "the camera does not answer",
  authentication: "the camera refuses the password", tls: "the camera's certificate is not trusted",
  not_found: "the camera has no such stream", codec: "the stream is no video that can be read",
  stalled: "no more pictures come", frozen: "the camera sends the same picture over and over",
  ended: "the stream has ended", crashed: "its reader crashed and is started again",
};
export const DROPS = {
  not_due: "not due: more frames came than are to be judged", superseded: "a newer frame was there already",
  stale: "too old when it arrived", no_slot: "no room: judging does not keep up",
  worker_lost: "its reader ended", engine_error: "the engine failed", shutdown: "the camera or the station was stopped",
};
export const NO_PICTURE = {
  per_minute: "The camera had its pictures of that minute already (evidence.per_minute).",
  busy: "Too many pictures waited, or the disk is too slow.", late: "The picture was not ready in time.",
  space: "There was no room for pictures.", unwritable: "The folder for pictures could not be used.",
  starting: "The station had just started.", failed: "The picture could not be stored.", shutdown: "The station stopped.",
};
export const BROKER = {
  off: "none: events stay here", connected: "connected", connecting: "connecting",
  authentication: "refuses the password", tls: "certificate not trusted", refused: "not reachable",
};

// Why the line is in its fail-safe, and what to do.
const LINE_FAULTS = {
  no_acknowledge: ["the PLC does not acknowledge", "A result stands, and the PLC has not taken it: look whether its program runs; then press reset at the PLC."],
  plc_away: ["the PLC cannot be reached", "Look whether the PLC runs, and at its network cable. The station connects again by itself."],
  plc_silent: ["the PLC's heartbeat stands still", "The PLC answers, but its program does not run: look at it."],
  queue_full: ["parts come faster than the PLC acknowledges", "Results wait and no room is left: look whether the PLC's program runs; then press reset at the PLC."],
  bad_answer: ["the PLC refuses the station's registers", "Its register map is not as the station file says: call whoever programs the PLC."],
};
export const lineFault = (cause) => LINE_FAULTS[cause]?.[0] ?? plain(cause);
export const lineAdvice = (cause) => LINE_FAULTS[cause]?.[1] ?? "";

const KINDS = {
  "inspector.frame.rejected.v1": ["rejected", "Rejected frames"],
  "inspector.frame.judged.v1": ["judged", "Judged frames"],
  "inspector.quality.degraded.v1": ["degraded", "Camera became bad"],
  "inspector.quality.recovered.v1": ["recovered", "Camera good again"],
  "inspector.camera.lost.v1": ["lost", "Camera lost"],
  "inspector.camera.restored.v1": ["restored", "Camera back"],
  "inspector.events.dropped.v1": ["dropped", "Events given up"],
  "inspector.line.fault.v1": ["line fault", "Line fault"],
  "inspector.line.restored.v1": ["line restored", "Line restored"],
};
export const kindOf = (event) => KINDS[event.type]?.[0] ?? event.type.replace(/^inspector\.|\.v1$/g, "").replaceAll(/[._]/g, " ");
export const kindInWords = (event) => KINDS[event.type]?.[1] ?? kindOf(event);

const TONES = { "line fault": "bad", "line restored": "good", rejected: "bad", degraded: "bad", lost: "bad", dropped: "bad", recovered: "good", restored: "good" };
export function toneOf(event) {
  return TONES[kindOf(event)] ?? VERDICTS[event.verdict]?.[1] ?? "none";
}

// One sentence for an event.
export function sentence(event) {
  const label = event.label ? inWords(event.label) : (CAUSES[event.cause] ?? "");
  switch (kindOf(event)) {
    case "rejected": return `Rejected: ${label}`;
    case "judged": return `${VERDICTS[event.verdict]?.[0] ?? "Judged"}${label && `: ${label}`}`;
    case "degraded": return `Quality degraded: ${label}`;
    case "recovered": return "Quality recovered";
    case "lost": return `Camera lost${AWAY[event.cause] ? `: ${AWAY[event.cause]}` : ""}`;
    case "restored": return typeof event.lost_s === "number" ? `Camera back after ${duration(event.lost_s)}` : "Camera back";
    case "line fault": return `Line fault: ${lineFault(event.cause)}`;
    case "line restored": return `Line restored${typeof event.after_s === "number" ? ` after ${duration(event.after_s)}` : ""}: it was that ${lineFault(event.cause)}`;
    case "dropped": return `${event.count ?? "An unknown number of"} events given up`;
    default: return kindOf(event);
  }
}

export const plain = (word) => (word ?? "").replaceAll("_", " ");

const NAMED = new RegExp(`\\b(${Object.keys(LABELS).join("|")})\\b`, "g");

// The engine's reasons, with words for labels and per cent for numbers between 0 and 1.
export function because(reasons) {
  return (reasons ?? []).join("; ").replace(NAMED, inWords).replace(/\b[01]\.\d+\b/g, (p) => `${Math.round(1000 * p) / 10} %`);
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hourCycle: "h23" });
export const day = (time) => new Date(time).toLocaleDateString();
export const number = (value) => Number(value).toLocaleString("en").replaceAll(",", "\u202f");
export const megabytes = (bytes) => `${number(Math.round(bytes / 1e6))} MB`;
