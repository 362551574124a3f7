// Curves over the last minutes, one a camera, told apart by colour and by dashes.

import { el, keyed, say, set, svg } from "./dom.js";

const HEIGHT = 176, LEFT = 56, BOTTOM = 22, TOP = 10;
const SERIES = 6;
const style = (at) => `series-${(at % SERIES) + 1}`;

// The next of 1, 2, 5, 10, 20 … that is not below.
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

export function makeChart(title) {
  const figure = svg("svg", { class: "chart", role: "img" });
  figure.append(svg("g"), svg("g"));
  return el("section", { class: "card panel" }, el("h3", {}, title), figure, el("ul", { class: "keys small" }));
}

// Curves: [{name, values, now}], each value a number for a step, or null where nothing came.
export function drawChart(panel, curves, { unit, minutes, axis = String }) {
  const [title, figure, keys] = panel.children;
  const most = ceiling(Math.max(0, ...curves.flatMap(({ values }) => values.filter((value) => value !== null))));
  const steps = Math.max(2, ...curves.map(({ values }) => values.length));
  const width = figure.clientWidth || 600; // one unit is one pixel, so that words keep their size
  set(figure, "viewBox", `0 0 ${width} ${HEIGHT}`);
  const x = (at) => LEFT + (at / (steps - 1)) * (width - LEFT);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
  drawGrid(figure.children[0], y, { most, minutes, width, axis });
  keyed(figure.children[1], curves.map(({ name }) => name), () => svg("path"), (path, name) => {
    const at = curves.findIndex((curve) => curve.name === name);
    set(path, "class", `curve ${style(at)}`);
    set(path, "d", pathOf(curves[at].values, x, y));
  });
  keyed(keys, curves.map(({ name }) => name), makeKey, (key, name) => {
    const at = curves.findIndex((curve) => curve.name === name);
    set(key.querySelector("path"), "class", style(at));
    say(key.lastElementChild, `${name}: ${curves[at].now}`);
  });
  const told = curves.map(({ name, now }) => `${name} ${now}`).join(", ");
  set(figure, "aria-label", `${title.textContent}, ${unit}, last ${minutes} minutes. Now: ${told || "nothing"}`);
}

const makeKey = () => el("li", {}, svg("svg", { viewBox: "0 0 32 12", "aria-hidden": "true" }, svg("path", { d: "M0 6h32" })), el("span"));

function drawGrid(group, y, { most, minutes, width, axis }) {
  const wanted = `${most} ${minutes} ${width}`;
  if (group.dataset.of === wanted) return;
  group.dataset.of = wanted;
  const lines = [0, most / 2, most].flatMap((value) => [
    svg("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width}` }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, axis(Number(value.toPrecision(3)))),
  ]);
  group.replaceChildren(
    ...lines,
    svg("text", { x: LEFT, y: HEIGHT - 4 }, `${minutes} min ago`),
    svg("text", { x: width, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
  );
}

function pathOf(values, x, y) {
  let d = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) {
      pen = "M";
      return;
    }
    d += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  return d;
}
