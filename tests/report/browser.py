"""A headless Chromium for tests of pages, with what it logged and asked the network for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip


@contextmanager
def browser(profile: Path) -> Iterator[Any]:
    """Start Chromium with an empty profile; skips the test where it or Selenium is absent."""
    selenium = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver on the PATH")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    for option in (*OPTIONS, *root, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def view(driver: Any, width: int, height: int, scheme: str = "light") -> None:
    """Show pages on a screen of this size in CSS pixels, a phone's if it is narrow."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def complaints(driver: Any) -> list[str]:
    """Return what the console holds since the last call; a page that is right says nothing."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any) -> list[str]:
    """Return the addresses that were asked for since the last call, but for what lies in the page itself."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]
