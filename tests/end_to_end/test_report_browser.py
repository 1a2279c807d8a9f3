"""The report in a real headless Chromium: it renders, sorts, filters, opens runs, and its console stays empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from results.report import command
from scripts.screenshot import browser, missing_browser
from tests.ledgers import make_ledger

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    reason = missing_browser()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("browser")
    make_ledger(folder / "runs", runs=400, seed=5, learning_rates=(0.3, 0.03), lengths=(20, 60), broken=1)
    command.write(folder / "runs", folder / "report.html", title="Tried in a browser")
    driver = browser(folder / "profile", 1280, 900)
    yield driver, (folder / "report.html").as_uri()
    driver.quit()


@pytest.fixture
def go(page: tuple[Any, str]) -> Iterator[Callable[[str], Any]]:
    from selenium.webdriver.support.ui import WebDriverWait

    driver, address = page

    def visit(view: str) -> Any:
        driver.get("about:blank")
        driver.get(f"{address}#/{view}")
        WebDriverWait(driver, 15).until(lambda d: d.find_elements("css selector", "main h2"))
        return driver

    yield visit
    assert [line for line in driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def column(driver: Any, name: str) -> list[str]:
    """Texts of a column of the first table."""
    heads = [head.text.split("\n")[0].strip() for head in driver.find_elements("css selector", "main table thead th")]
    at = next(i for i, head in enumerate(heads) if head.startswith(name))
    script = (
        "return [...document.querySelector('main table').tBodies[0].rows].map(r => r.cells[arguments[0]].textContent)"
    )
    return driver.execute_script(script, at)


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text != "–"]


def click(driver: Any, selector: str) -> None:
    driver.find_element("css selector", selector).click()


def test_the_overview_compares_methods_and_links_to_runs(go: Callable[[str], Any]) -> None:
    driver = go("")
    assert driver.title.endswith("Tried in a browser")
    assert {"PT", "DePT", "APT, gates after the abstract", "zero-shot"} <= set(column(driver, "method"))
    assert "400" in driver.find_element("id", "foot").text
    assert "broken000000" in driver.find_element("css selector", "main").text
    click(driver, "main a.score")
    assert "#/runs?method=" in driver.current_url


def test_heads_sort_both_ways_and_by_keyboard(go: Callable[[str], Any]) -> None:
    from selenium.webdriver.common.keys import Keys

    driver = go("runs")
    scores = numbers(column(driver, "score"))
    assert scores == sorted(scores, reverse=True)
    head = driver.find_element("xpath", "//th[starts-with(normalize-space(.), 'score')]")
    head.find_element("css selector", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(column(driver, "score")) == sorted(numbers(column(driver, "score")))
    head.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert "sort=-score" in driver.current_url


def test_filters_narrow_the_runs_and_stay_in_the_address(go: Callable[[str], Any]) -> None:
    from selenium.webdriver.support.ui import Select

    driver = go("runs")
    Select(driver.find_element("css selector", "select[aria-label=method]")).select_by_value("dept")
    assert set(column(driver, "method")) == {"DePT"}
    driver.find_element("css selector", "input[type=search]").send_keys("length:60 seed:1")
    assert set(column(driver, "length")) == {"60"} and set(column(driver, "seed")) == {"1"}
    again = driver.current_url.split("#/")[1]
    shown = driver.find_element("css selector", "output.tally").text
    assert go(again).find_element("css selector", "output.tally").text == shown
    go("runs?q=nothing-is-called-so")
    assert "No run passes" in driver.find_element("css selector", "td.empty").text


def test_a_run_has_its_page(go: Callable[[str], Any]) -> None:
    driver = go("runs?method=apt&status=done&fixture=without")
    with_gates = "return RUNS.find(run => run.method === 'apt' && run.done && run.chosen).id"
    without = "return RUNS.find(run => run.method === 'apt' && run.done && !run.chosen).id"
    identity, other = driver.execute_script(with_gates), driver.execute_script(without)
    driver.find_element("css selector", "main tbody a").click()
    driver.implicitly_wait(5)
    driver.find_element("css selector", ".facts")
    go(f"run/{other}")
    assert "only those of the runs chosen on validation" in driver.find_element("css selector", "main").text
    go(f"run/{identity}")
    driver.find_element("css selector", ".facts")
    text = driver.find_element("css selector", "main").text
    for part in (identity, "Verdicts", "Configuration", "method.prompt_length", "Provenance", "transformers", "errors"):
        assert part in text, part
    assert len(driver.find_elements("css selector", "svg.heat")) == 1
    assert len(driver.find_elements("css selector", "svg.chart-svg:not(.heat)")) == 2


def test_failed_runs_say_why(go: Callable[[str], Any]) -> None:
    driver = go("runs?status=failed")
    driver.find_element("css selector", "main tbody a").click()
    driver.implicitly_wait(5)
    assert "loss was nan" in driver.find_element("css selector", ".banner.error").text


@pytest.mark.parametrize(("view", "charts"), [("curves", 2), ("sensitivity", 2), ("pareto", 3)])
def test_charts_are_drawn_and_answer_the_pointer_and_the_keyboard(
    go: Callable[[str], Any], view: str, charts: int
) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    driver = go(view)
    WebDriverWait(driver, 15).until(lambda d: len(d.find_elements("css selector", "svg.chart-svg")) == charts)
    svg = driver.find_element("css selector", "svg.chart-svg")
    assert len(svg.find_elements("css selector", "path")) > 5
    driver.execute_script("arguments[0].focus()", svg)
    svg.send_keys(Keys.ARROW_RIGHT)
    assert len(driver.find_element("id", "tip").text) > 5
    keys = driver.find_elements("css selector", ".legend button")
    keys[0].click()
    assert keys[0].get_attribute("aria-pressed") == "false"
    driver.find_element("css selector", ".numbers summary").click()
    assert driver.find_elements("css selector", ".numbers td.n")


def test_gates_and_both_themes(go: Callable[[str], Any]) -> None:
    driver = go("gates")
    assert len(driver.find_elements("css selector", "svg.heat rect")) > 12 * 20
    grounds = set()
    for _ in range(3):
        click(driver, "#theme")
        grounds.add(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_nothing_is_asked_of_the_network(go: Callable[[str], Any]) -> None:
    driver = go("curves")
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0


VIEWS = ("", "runs", "curves", "sensitivity", "pareto", "gates", "tables", "audit", "power")


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_500_pixels_and_says_that_runs_are_generated(go: Callable[[str], Any], view: str) -> None:
    driver = go(view)
    driver.set_window_size(500, 900)
    try:
        driver.refresh()
        driver.implicitly_wait(5)
        assert "generated" in driver.find_element("css selector", "main > .banner .badge").text
        wide, width = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= width <= 520
        links = driver.find_elements("css selector", "#nav a")
        assert len(links) == len(VIEWS) and all(link.rect["x"] + link.rect["width"] <= width for link in links)
    finally:
        driver.set_window_size(1280, 900)


def test_a_fixture_panel_is_marked_in_every_figure(go: Callable[[str], Any]) -> None:
    from urllib.parse import quote

    driver = go("curves")
    find = (
        "return DATA.panels.map((p, i) =>"
        " [p.fixture && RUNS.some(r => r.panel === i && trained(r) && r.done), panelName(p)])"
    )
    names = [name for fixture, name in driver.execute_script(find) if fixture]
    assert names
    for view in ("curves", "sensitivity", "pareto"):
        driver = go(f"{view}?panel={quote(names[0])}")
        assert "no score means anything" in driver.find_element("css selector", ".banner.mark").text
        driver = go(view)
        assert not driver.find_elements("css selector", ".banner.mark")


def test_counts_have_their_nouns(go: Callable[[str], Any]) -> None:
    driver = go("")
    shown = dict(
        driver.execute_script(
            "return [...document.querySelectorAll('.stat')]"
            ".map(s => [s.children[1].textContent, s.children[0].textContent])"
        )
    )
    assert int(shown["methods"]) == driver.execute_script(
        "return new Set(RUNS.filter(r => !r.fixture).map(r => r.method)).size"
    )
    assert driver.execute_script("return [counted(1, 'method'), counted(3, 'method'), counted(0, 'run')]") == [
        "1 method", "3 methods", "0 runs",
    ]  # fmt: skip


def test_ready_tables_have_views_of_their_own(go: Callable[[str], Any]) -> None:
    assert len(go("power").find_elements("css selector", "main table.paper")) == 3
    driver = go("audit")
    assert len(driver.find_elements("css selector", "main #audit tbody tr")) > 5
    driver = go("tables")
    tables = driver.find_elements("css selector", "main table.paper")
    assert tables and len(driver.find_elements("css selector", "main details.pairs-of")) == len(tables)
