// The verdicts of the last minutes as a strip. The worst of each step gives its height as well as its colour.

import { set, svg } from "./dom.js";
import { number } from "./words.js";

// Row: step, accepted, rejected, uncertain, unjudgeable, mean age, greatest age.
const ACCEPTED = 1, REJECTED = 2, UNCERTAIN = 3, UNJUDGEABLE = 4;
const BLOCKS = { good: [[28, 12]], doubt: [[14, 12]], bad: [[0, 40]], none: [[4, 6], [30, 6]] };

function toneOf(row) {
  if (row[REJECTED]) return "bad";
  if (row[UNJUDGEABLE]) return "none";
  return row[UNCERTAIN] ? "doubt" : "good";
}

export function drawTimeline(strip, rows, { now, steps }) {
  const paths = { good: "", doubt: "", none: "", bad: "" };
  for (const row of rows.values()) {
    const tone = toneOf(row);
    const x = row[0] - now + steps - 1;
    for (const [top, height] of BLOCKS[tone]) paths[tone] += `M${x} ${top}h1v${height}h-1z`;
  }
  set(strip, "viewBox", `0 0 ${steps} 40`);
  for (const [tone, d] of Object.entries(paths)) {
    const path = strip.querySelector(`.${tone}`) ?? strip.appendChild(svg("path", { class: `strip ${tone}` }));
    set(path, "d", d);
  }
}

export function summary(rows, { step_s, steps }) {
  const total = [ACCEPTED, REJECTED, UNCERTAIN, UNJUDGEABLE].map((at) => [...rows.values()].reduce((sum, row) => sum + row[at], 0));
  const judged = total.reduce((sum, count) => sum + count, 0);
  const minutes = Math.round((step_s * steps) / 60);
  if (!judged) return `no verdict in the last ${minutes} min`;
  const share = (count) => {
    const part = (100 * count) / judged;
    return part && part < 0.1 ? "< 0.1 %" : `${part.toFixed(part < 10 ? 1 : 0)} %`;
  };
  const [, rejected, uncertain, unjudgeable] = total;
  const parts = [`last ${minutes} min: ${number(judged)} judged`, `${share(rejected)} rejected`];
  if (uncertain) parts.push(`${share(uncertain)} uncertain`);
  if (unjudgeable) parts.push(`${share(unjudgeable)} could not be judged`);
  return parts.join(", ");
}
