"""What is committed of a benchmark is what its committed runs give: every table, every pair, nothing else, small."""

from __future__ import annotations

import pytest

from results import pages
from results.archive import ROOT, archived
from results.publish import texts
from results.tables.layout import tables_of

PAPERS = sorted(path.parent.name for path in ROOT.glob("*/runs.tar.xz"))


def test_something_is_published() -> None:
    assert "offline_v1" in PAPERS


@pytest.mark.parametrize("paper", PAPERS)
def test_committed_tables_are_what_committed_runs_give(paper: str) -> None:
    made = texts(paper, archived(paper))
    folder = ROOT / paper
    assert {path.name for path in folder.iterdir() if path.suffix in (".md", ".csv")} == set(made)
    for name, text in made.items():
        assert (folder / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("paper", PAPERS)
def test_what_is_published_is_small_and_holds_no_weights(paper: str) -> None:
    assert sum(path.stat().st_size for path in (ROOT / paper).iterdir()) < 1_000_000
    reading = archived(paper)
    assert reading.problems == [] and all(run.done and not run.is_fixture for run in reading.runs)
    kept = {path.name for run in reading.runs for path in run.folder.rglob("*") if path.is_file()}
    assert kept <= {"record.json", "metrics.jsonl", "predictions.test.jsonl", "gates.json"}


@pytest.mark.parametrize("paper", PAPERS)
def test_the_page_shows_the_tables_and_verdicts_of_the_committed_runs(paper: str) -> None:
    page = pages.page_of(paper).read_text(encoding="utf-8")
    parts = pages.parts_of(paper, archived(paper))
    assert pages.filled(page, parts) == page
    for name in tables_of(paper):
        assert parts[f"{name} table"] in page and parts[f"{name} verdicts"] in page, name


def test_a_page_asks_for_no_part_that_there_is_not() -> None:
    assert pages.filled("a\n<!-- x table -->\nold\n<!-- /x table -->\nb", {"x table": "new\n"}) == (
        "a\n<!-- x table -->\nnew\n<!-- /x table -->\nb"
    )
    with pytest.raises(KeyError):
        pages.filled("<!-- y table -->\n<!-- /y table -->", {})
