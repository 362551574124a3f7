// Asks for the document every two seconds and shows it. What stations say is put in as text only.

import { byId } from "./dom.js";
import "./theme.js";
import { AWAY, inWords, number } from "./words.js";

const TONES = { quiet: "bad", "not ready": "bad", trouble: "doubt", serving: "good" };
const MOST_TROUBLES = 12;
const EVERY_MS = 2000;
let latest = null;

function element(name, { text, className, ...more } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(more)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const chip = (text, tone) => element("span", { text, className: `chip ${tone}` });
// What of a station is not well, in a word or two: its reasons and line faults begin with it.
const subjects = (one) => [...new Set([...one.reasons, ...one.line_faults].map((text) => text.split(/[:,]/)[0]))];
const pairs = (list, rows) => list.replaceChildren(...rows.map(([name, value, className = ""]) =>
  element("div", { className }, element("dt", { text: name }), element("dd", { text: value }))));

function meter(share, label) {
  const part = element("div");
  part.style.width = `${Math.min(100, 100 * share)}%`;
  return element("div", { className: "meter", "aria-hidden": "true", title: label }, part);
}

function percent(share) {
  if (share === null || !Number.isFinite(share)) return "–";
  const value = 100 * share;
  return `${value >= 9.95 || value === 0 ? value.toFixed(0) : value >= 0.095 ? value.toFixed(1) : value.toFixed(2)} %`;
}

function span(seconds) {
  if (seconds === null) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

function clock(time, zone) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone });
}

// Today the time alone says enough.
function moment(time, zone) {
  const at = new Date(time);
  const day = { weekday: "short", timeZone: zone };
  const sameDay = at.toLocaleDateString([], { dateStyle: "short", timeZone: zone }) === new Date().toLocaleDateString([], { dateStyle: "short", timeZone: zone });
  return `${sameDay ? "" : `${at.toLocaleDateString([], day)} `}${clock(time, zone)}`;
}

// --- what needs attention -------------------------------------------------------------------------

function troublesOf(fleet) {
  const found = [];
  const reading = fleet.reading;
  if (reading.reason) found.push(["broker", `${reading.reason}; what is shown is from ${new Date(reading.known_until * 1000).toLocaleTimeString()}`]);
  if (reading.missing.length) found.push(["topics", `${reading.missing.join(", ")}: not there yet`]);
  for (const one of fleet.stations) {
    if (one.state === "quiet") {
      found.push([one.station, one.heard === null
        ? `nothing heard in ${fleet.look_back_days} days`
        : `quiet for ${span(one.silent_s)}; it used to tell of itself every ${span(one.interval_s)}`]);
      continue;
    }
    if (one.state === "not ready") found.push([one.station, one.reasons.join("; ") || "not ready"]);
    else for (const reason of one.reasons) found.push([one.station, reason]);
    for (const camera of one.cameras.filter((camera) => one.lost.includes(camera.camera))) {
      found.push([`${one.station} / ${camera.camera}`, `camera ${camera.state} since ${moment(camera.since, fleet.zone)}: ${camera.detail || AWAY[camera.cause] || camera.cause || "no cause told"}`]);
    }
    for (const name of one.degraded) found.push([`${one.station} / ${name}`, "its pictures are bad"]);
    for (const text of one.line_faults) found.push([one.station, text]);
    const said = subjects(one).includes("engine screen"); // why, too
    if (one.engine?.degraded && !said) found.push([one.station, `serves on ${one.engine.runtime}, not on what was asked for`]);
    if (one.clock_ahead_s) found.push([one.station, `its clock is ${span(one.clock_ahead_s)} ahead`]);
    if (one.given_up) found.push([one.station, `gave up ${number(one.given_up)} events (${one.given_up_cause.replaceAll("_", " ")}): its counts are too low`]);
  }
  return found;
}

function showTroubles(fleet) {
  const found = troublesOf(fleet);
  byId("troubles").hidden = found.length === 0;
  const shown = found.slice(0, MOST_TROUBLES);
  if (found.length > shown.length) shown.push(["and", `${found.length - shown.length} more: see below`]);
  pairs(byId("troubles").querySelector("dl"), shown);
}

// --- header ---------------------------------------------------------------------------------------

function showReading({ reading }) {
  const word = reading.state !== "connected" ? `broker: ${reading.state.replaceAll("_", " ")}`
    : reading.caught_up ? "live" : `reading what was: ${Math.floor(100 * reading.progress)} %`;
  const tone = reading.state !== "connected" ? "bad" : reading.caught_up ? "good" : "doubt";
  if (byId("reading").textContent !== word) byId("reading").textContent = word;
  byId("reading").className = `chip ${tone}`;
}

function showTally(fleet) {
  const count = (state) => fleet.stations.filter((one) => one.state === state).length;
  const lost = fleet.stations.reduce((sum, one) => sum + (one.state === "quiet" ? 0 : one.lost.length), 0);
  const bad = (count) => (count ? "bad" : "");
  pairs(byId("tally"), [
    ["stations", fleet.stations.length], ["serving", count("serving"), "good"], ["trouble", count("trouble")],
    ["not ready", count("not ready"), bad(count("not ready"))], ["quiet", count("quiet"), bad(count("quiet"))], ["cameras lost", lost, bad(lost)],
  ]);
}

// --- rejects by line and shift --------------------------------------------------------------------

function sumOf(parts) {
  const sum = { judged: 0, rejected: 0, uncertain: 0, labels: {} };
  for (const part of parts) {
    for (const key of ["judged", "rejected", "uncertain"]) sum[key] += part[key];
    for (const [label, count] of Object.entries(part.labels)) sum.labels[label] = (sum.labels[label] ?? 0) + count;
  }
  return sum;
}

const shareOf = (counts) => (counts.judged >= counts.rejected && counts.judged ? counts.rejected / counts.judged : null);

function cell(counts, most) {
  const share = shareOf(counts);
  const of = counts.judged ? `${percent(share)} of ${number(counts.judged)}` : counts.rejected ? "of an unknown number" : "nothing judged";
  return element("td", { className: "number" },
    element("strong", { text: number(counts.rejected) }), element("small", { text: of }), ...(most ? [meter(counts.rejected / most, of)] : []));
}

function showBoard(fleet, chosen) {
  byId("shifts").replaceChildren(element("tr", {}, element("th", { scope: "col", text: "Line" }),
    ...fleet.shifts.map((shift, at) => element("th", { scope: "col", className: "number", text: at ? shift.name : `${shift.name}, now` },
      element("small", { text: `${new Date(shift.begins).toLocaleDateString([], { weekday: "short", timeZone: fleet.zone })} ${clock(shift.begins, fleet.zone)}–${clock(shift.ends, fleet.zone)}` }),
      ...(shift.known_from ? [element("small", { text: `known since ${moment(shift.known_from, fleet.zone)}` })] : [])))));
  const lines = fleet.lines.filter((line) => !chosen || line.line === chosen)
    .toSorted((a, b) => b.shifts[0].rejected - a.shifts[0].rejected || a.line.localeCompare(b.line));
  const most = Math.max(1, ...lines.flatMap((line) => line.shifts.map((shift) => shift.rejected)));
  const rows = lines.map((line) => element("tr", {},
    element("th", { scope: "row", text: line.line }, element("small", { text: line.stations === 1 ? "1 station" : `${line.stations} stations` })),
    ...line.shifts.map((shift) => cell(shift, most))));
  if (lines.length > 1) {
    const sums = fleet.shifts.map((_, at) => sumOf(lines.map((line) => line.shifts[at])));
    rows.push(element("tr", { className: "whole" }, element("th", { scope: "row", text: "All" }), ...sums.map((sum) => cell(sum, 0))));
  }
  if (!rows.length) rows.push(element("tr", {}, element("td", { text: "no station has told of itself yet", colspan: fleet.shifts.length + 1 })));
  byId("board").replaceChildren(...rows);
}

// --- labels ---------------------------------------------------------------------------------------

function showPareto(fleet, chosen, shifts) {
  const lines = fleet.lines.filter((line) => !chosen || line.line === chosen);
  const sum = sumOf(lines.flatMap((line) => line.shifts.slice(0, shifts)));
  const rows = Object.entries(sum.labels).sort((a, b) => b[1] - a[1]);
  const all = rows.reduce((total, [, count]) => total + count, 0);
  let running = 0;
  const list = rows.map(([label, count]) => {
    running += count;
    return element("li", {}, element("span", { text: inWords(label) }), meter(count / rows[0][1], inWords(label)),
      element("span", { text: number(count) }), element("span", { text: percent(count / all) }), element("span", { text: percent(running / all) }));
  });
  const head = element("li", { className: "head" }, ...["label", "", "rejects", "share", "together"].map((text) => element("span", { text })));
  byId("pareto").replaceChildren(...(list.length ? [head, ...list] : [element("li", { text: "no rejects" })]));
  byId("pareto-of").textContent = `${chosen || "All lines"}, ${shifts === 1 ? "this shift" : allShifts(fleet)}: ${number(all)} rejects`
    + (sum.uncertain ? `; ${number(sum.uncertain)} more uncertain` : "");
}

// --- drift ----------------------------------------------------------------------------------------

function showDrift({ drift, reading }, chosen) {
  const found = drift.found.filter((one) => !chosen || one.line === chosen);
  const times = (factor) => (factor >= 9.95 ? factor.toFixed(0) : factor.toFixed(1));
  byId("drifts").replaceChildren(...found.map((one) => {
    const more = one.factor >= 1;
    const [factor, low, high] = more ? [one.factor, one.low, one.high] : [1 / one.factor, 1 / one.high, 1 / one.low];
    const how = one.before === 0 ? "new" : one.now === 0 ? "gone" : `${times(factor)} × ${more ? "more" : "less"}`;
    const range = one.low === null ? "by its hours" : `${times(low)} to ${high > 999 ? "many" : times(high)}`;
    return element("tr", {},
      element("td", { text: `${one.station} / ${one.camera}` }, element("small", { text: one.line === one.station ? "" : one.line })),
      element("td", { text: inWords(one.label) }),
      element("td", { className: "number", text: percent(one.before) }), element("td", { className: "number", text: percent(one.now) }),
      element("td", { className: "number" }, element("strong", { text: how }), element("small", { text: range })));
  }));
  if (!found.length) {
    byId("drifts").replaceChildren(element("tr", {}, element("td", { colspan: 5, text: drift.cameras ? "no label has changed" : "too little history yet to say" })));
  }
  byId("drift-of").textContent = `Share of judged frames, the last ${drift.hours_now} hours against the ${drift.hours_before} before, hour by hour. `
    + `${drift.cameras} cameras compared, ${drift.too_little} have too few frames or hours.`
    + (drift.more ? ` ${drift.more} more have changed.` : "") + (reading.caught_up ? "" : " Still reading.");
}

// --- stations -------------------------------------------------------------------------------------

function camerasOf(one) {
  const lost = new Set(one.lost);
  const bad = new Set(one.degraded);
  const up = one.cameras.filter((camera) => !lost.has(camera.camera)).length;
  if (one.state === "quiet") return element("td", { text: one.cameras.length ? `${one.cameras.length}, not known how` : "–" });
  const box = element("td", { text: one.cameras.length ? `${up} of ${one.cameras.length}` : "–" });
  if (lost.size) box.append(element("small", { className: "lost", text: `lost: ${[...lost].join(", ")}` }));
  if (bad.size) box.append(element("small", { className: "doubtful", text: `bad pictures: ${[...bad].join(", ")}` }));
  return box;
}

function stationRow(one) {
  const engine = one.engine ? `${one.engine.name} ${one.engine.version}` : "–";
  const how = one.engine ? `${one.engine.runtime} ${one.engine.precision}${one.engine.degraded ? ", fallback" : ""}` : "";
  const why = one.state === "trouble" ? subjects(one).join(", ") : "";
  return element("tr", { "data-station": one.station },
    element("td", {}, element("strong", { text: one.station })), element("td", { text: one.line === one.station ? "–" : one.line }),
    element("td", {}, chip(one.state, TONES[one.state]), element("small", { text: why })), camerasOf(one),
    element("td", { text: one.mode ?? "–" }), element("td", { text: engine }, element("small", { text: how })),
    element("td", { text: one.version ?? "–" }), element("td", { className: "number", text: one.waiting === null ? "–" : number(one.waiting) }),
    element("td", { className: "number", text: one.heard === null ? "never" : `${span(one.silent_s)} ago` }));
}

function showStations(fleet, chosen) {
  const rows = fleet.stations.filter((one) => !chosen || one.line === chosen).map(stationRow);
  byId("rows").replaceChildren(...(rows.length ? rows : [element("tr", {}, element("td", { colspan: 9, text: "none yet" }))]));
}

function showCounts({ counts, unknown, look_back_days, version, last_invalid }) {
  const of = (name) => number(counts[name] ?? 0);
  const parts = [`${of("records")} records since this view began, ${look_back_days} days looked back`, `${of("repeats")} repeats and ${of("replays")} sent again left out`];
  const names = Object.entries(unknown).map(([type, count]) => `${type} (${number(count)})`);
  parts.push(names.length ? `unknown types: ${names.join(", ")}` : "no unknown types");
  parts.push(counts.invalid ? `${of("invalid")} records are no events (last: ${last_invalid})` : "no invalid records");
  if (counts.beyond_bounds) parts.push(`${of("beyond_bounds")} from stations or cameras beyond the bounds, left out`);
  byId("version").textContent = `Inspector ${version}`;
  byId("counts").textContent = parts.join(" · ");
}

function allShifts({ shifts, zone }) {
  const since = shifts.at(-1).known_from;
  return `the last ${shifts.length} shifts${since ? `, known since ${moment(since, zone)}` : ""}`;
}

function showLines(fleet) {
  const names = fleet.lines.map((line) => line.line);
  const select = byId("line");
  if ([...select.options].slice(1).map((option) => option.value).join() === names.join()) return;
  const chosen = select.value;
  select.replaceChildren(new Option("all lines", ""), ...names.map((name) => new Option(name, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

function show(fleet) {
  showLines(fleet);
  const chosen = byId("line").value;
  showReading(fleet);
  showTally(fleet);
  showTroubles(fleet);
  showBoard(fleet, chosen);
  showPareto(fleet, chosen, Number(byId("period").value));
  showDrift(fleet, chosen);
  showStations(fleet, chosen);
  showCounts(fleet);
}

async function turn() {
  try {
    const answer = await fetch("api/fleet", { signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error(`api/fleet: ${answer.status}`);
    latest = await answer.json();
    document.body.classList.remove("stale");
    show(latest);
  } catch (error) {
    byId("reading").textContent = "no answer";
    byId("reading").className = "chip bad";
    document.body.classList.add("stale");
    console.info(error);
  }
  setTimeout(turn, EVERY_MS);
}

for (const id of ["line", "period"]) byId(id).addEventListener("change", () => latest && show(latest));
turn();
