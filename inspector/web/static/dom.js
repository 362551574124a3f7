// Making and changing elements. What the station says is put in as text only.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);
export const el = (tag, given = {}, ...children) => fill(document.createElement(tag), given, children);
export const svg = (tag, given = {}, ...children) => fill(document.createElementNS(SVG, tag), given, children);
export const shape = (name) => svg("svg", { "aria-hidden": "true" }, svg("use", { href: `#shape-${name}` }));

// Only what differs is changed, so that a reader who is at it is not disturbed.
export function say(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function set(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Rows of a description list: [name, value] pairs; a value of null leaves its row out.
export function facts(list, pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined);
  while (list.children.length > shown.length) list.lastElementChild.remove();
  shown.forEach(([name, value], at) => {
    const row = list.children[at] ?? list.appendChild(el("div", {}, el("dt"), el("dd")));
    say(row.children[0], name);
    say(row.children[1], value);
  });
  return list;
}

// Elements for a row of keys: made once, kept in order, removed when their key is gone. One that has the focus keeps
// it: the browser takes it away from what is moved.
export function keyed(home, keys, make, update) {
  const held = home.contains(document.activeElement) ? document.activeElement : null;
  const there = new Map([...home.children].map((node) => [node.dataset.key, node]));
  let before = home.firstElementChild;
  for (const key of keys) {
    let node = there.get(key);
    there.delete(key);
    if (!node) {
      node = make(key);
      node.dataset.key = key;
    }
    if (node === before) before = before.nextElementSibling;
    else home.insertBefore(node, before);
    update(node, key);
  }
  there.forEach((node) => node.remove());
  if (held?.isConnected && held !== document.activeElement) held.focus({ preventScroll: true });
}

// The most probable labels as bars.
export function bars(list, probabilities, most, inWords) {
  const rows = Object.entries(probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, most);
  while (list.children.length > rows.length) list.lastElementChild.remove();
  rows.forEach(([label, p], at) => {
    const row = list.children[at] ?? list.appendChild(
      el("li", {}, el("span"), el("div", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 1 }, el("div")), el("span")),
    );
    const [name, meter, number] = row.children;
    say(name, inWords(label));
    set(meter, "aria-label", inWords(label));
    set(meter, "aria-valuenow", p);
    meter.firstElementChild.style.width = `${100 * p}%`;
    say(number, `${Math.round(100 * p)} %`);
  });
}
