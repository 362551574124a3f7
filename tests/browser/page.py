"""The dashboard as a test sees it: waits, views, and what a person could complain about."""

from __future__ import annotations

import base64
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

WITHIN_S = 90
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


class Page:
    """One window of the browser."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser
        self._wait = WebDriverWait(
            browser,
            WITHIN_S,
            poll_frequency=0.1,
            ignored_exceptions=[NoSuchElementException, StaleElementReferenceException],
        )

    def open(self, address: str, view: str = "cameras") -> Page:
        """Go to a view, and wait until it is told something."""
        self.browser.get("about:blank")
        self.browser.get(f"{address}/#/{view}")
        self.until(lambda: self.one("#phase").text == "serving")
        return self

    def until(self, truth: Callable[[], Any]) -> Any:
        return self._wait.until(lambda _: truth())

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def card(self, camera: str) -> WebElement:
        return self.one(f"[data-camera={camera}]")

    def script(self, text: str, *values: object) -> Any:
        return self.browser.execute_script(text, *values)

    def shown(self, selector: str) -> bool:
        """Whether a picture is there with all its pixels."""
        return bool(
            self.script(
                "const found = document.querySelector(arguments[0]);"
                "return found && found.complete && found.naturalWidth && found.offsetParent",
                selector,
            )
        )

    def choose(self, selector: str, value: str) -> None:
        self.one(f'{selector} option[value="{value}"]').click()

    def size(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefers(self, **features: str) -> None:
        wanted = [
            {"name": f"prefers-{k.replace('_', '-')}", "value": v} for k, v in features.items()
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def screenshot(self, name: str) -> Path:
        """Keep what is seen, in the folder for screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    # -- what a person could complain about -------------------------------------------------------

    def faults_in_console(self) -> list[str]:
        return [
            line["message"] for line in self.browser.get_log("browser") if line["level"] == "SEVERE"
        ]

    def accessibility_faults(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and good practice."""
        found: Any = self.browser.execute_async_script(f"{_axe()}\n{_RUN_AXE}")
        return [f"{rule['id']}: {node}" for rule in found for node in rule["nodes"]]

    def small_targets(self, least_px: int = 44) -> list[str]:
        """What is to be touched and is less than so many pixels high or wide."""
        return list(self.script(_SMALL, least_px))

    def least_contrast(self, selector: str) -> float:
        return float(self.script(_CONTRAST, selector))


def _axe() -> str:
    """The source of axe-core, which a package of Python brings along."""
    (path,) = [f for f in files("axe-playwright-python") or [] if f.name == "axe.min.js"]
    return path.read_text(encoding="utf-8")


_RUN_AXE = """
const done = arguments[arguments.length - 1];
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const told = ({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) });
axe.run({ runOnly: rules }).then(
  ({ violations }) => done(violations.map(told)),
  (error) => done([{ id: "axe failed", nodes: [String(error)] }]),
);
"""

# A link within a text is as high as its line.
_SMALL = """
const touched = "button, select, summary, a, [role=button], input";
return [...document.querySelectorAll(touched)].filter((node) => {
  const { width, height } = node.getBoundingClientRect();
  const seen = node.checkVisibility() && width > 1 && !node.matches(".skip");
  const least = arguments[0] - 0.5;
  return seen && (height < least || (width < least && !node.matches("a")));
}).map((node) => node.outerHTML.slice(0, 120));
"""

_CONTRAST = """
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const light = ([r, g, b]) => {
  const line = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
};
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const shown = [...document.querySelectorAll(arguments[0])].filter((e) => e.offsetParent);
return Math.min(...shown.map((element) => {
  const [ink, paper] = [parse(getComputedStyle(element).color), ground(element)].map(light);
  return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}));
"""
