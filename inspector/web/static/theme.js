// Light, dark, or as the system has it; remembered in this browser.

import { byId, say } from "./dom.js";

const NEXT = { system: "light", light: "dark", dark: "system" };
const NAMES = { system: "as the system", light: "light", dark: "dark" };

function stored() {
  try {
    return localStorage.getItem("theme") in NEXT ? localStorage.getItem("theme") : "system";
  } catch {
    return "system"; // a browser that keeps nothing
  }
}

function use(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  say(byId("theme-name"), `Colours: ${NAMES[theme]}. Change to ${NAMES[NEXT[theme]]}`);
  byId("theme").title = byId("theme-name").textContent;
}

let theme = stored();
use(theme);
byId("theme").addEventListener("click", () => {
  theme = NEXT[theme];
  use(theme);
  try {
    localStorage.setItem("theme", theme);
  } catch {
    return; // for this page alone, then
  }
});
