"""A real Chromium without a window, and what a test asks of the page in it; every wait has a deadline."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

DEADLINE_S = 15
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en",
)  # fmt: skip


class Page:
    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, address: str, width: int = 1280, height: int = 900) -> None:
        """A page of its own size; what the one before logged is forgotten."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.log()
        self.driver.get(address)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """What is written, read in one go: the page may change between two questions."""
        script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent.trim())"
        texts: list[str] = self.run(script, selector)
        return texts

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def click(self, selector: str) -> None:
        """As a person would, but without scrolling to it first."""
        self.until(lambda: self.all(selector))
        self.run("document.querySelector(arguments[0]).click()", selector)

    def write(self, selector: str, text: str) -> None:
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def until(self, holds: Callable[[], object]) -> None:
        WebDriverWait(self.driver, DEADLINE_S, 0.05).until(lambda _: holds(), f"not in time; the page says {self.said}")

    def until_texts(self, selector: str, wanted: list[str]) -> None:
        self.until(lambda: self.texts(selector) == wanted)

    @property
    def said(self) -> str:
        return str(self.run("return document.body.innerText"))[:600]

    def log(self) -> list[str]:
        """Errors of scripts, of loading and of the content policy since last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium leaves it so


@contextmanager
def browsing(chromium: str, chromedriver: str, profile: Path) -> Iterator[Page]:
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(chromedriver))
    try:
        yield Page(driver)
    finally:
        driver.quit()
