"""Write docs/images/report.png: the report of the ledger, as a real browser draws it.

usage: python scripts/screenshot.py [report=results/report.html] [out=docs/images/report.png] [view=] [theme=light]

Chromium and its driver come from Debian's packages (apt-get install chromium chromium-driver), selenium from
pip install -e '.[browser]'. Nothing is fetched: the page is one file.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402
from results.files import replacing  # noqa: E402

BINARIES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def missing_browser() -> str | None:
    """Why there is no browser to use, with the way to get one, or None."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install -e '.[browser]'"
    if not any(shutil.which(name) for name in BINARIES):
        return "no Chromium on this machine: apt-get install chromium chromium-driver"
    return None if shutil.which("chromedriver") else "no chromedriver: apt-get install chromium-driver"


def browser(profile: Path, width: int = 1360, height: int = 900) -> Any:
    """A headless Chromium with a profile of its own, its console kept.

    Args:
        profile: a new folder for the browser's own files.
        width, height: of the window, pixels.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = next(path for name in BINARIES if (path := shutil.which(name)))
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def shoot(
    report: Path, out: Path, *, view: str = "", theme: str = "light", width: int = 1360, height: int = 900
) -> None:
    """Write a picture of one view of a report."""
    with tempfile.TemporaryDirectory(prefix="screenshot-") as profile:
        driver = browser(Path(profile), width, height)
        try:
            driver.get(f"{report.resolve().as_uri()}#/{view}")
            driver.execute_script("setTheme(arguments[0], false); show(false)", theme)
            time.sleep(0.8)  # charts are drawn when their size is known
            picture = driver.get_screenshot_as_png()
        finally:
            driver.quit()
    with replacing(out) as temporary:
        temporary.write_bytes(picture)


@command
def main(arguments: list[str]) -> int:
    """Run the command; 0 written, 2 refused."""
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    allowed = {"report", "out", "view", "theme", "width", "height"}
    if len(options) != len(arguments) or not set(options) <= allowed:
        print(__doc__, file=sys.stderr)
        return 2
    report = place(options.get("report", str(ROOT / "results" / "report.html")))
    reason = missing_browser() or (None if report.is_file() else f"{report} is not there: make report")
    if reason:
        print(reason, file=sys.stderr)
        return 2
    out = place(options.get("out", str(ROOT / "docs" / "images" / "report.png")))
    wrong = [name for name in ("width", "height") if not options.get(name, "1").isdigit()]
    if wrong:
        print(f"{wrong[0]}={options[wrong[0]]}: a number of pixels is wanted", file=sys.stderr)
        return 2
    size = {name: int(options[name]) for name in ("width", "height") if name in options}
    shoot(report, out, view=options.get("view", ""), theme=options.get("theme", "light"), **size)
    print(f"{out} ({out.stat().st_size / 1e3:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
