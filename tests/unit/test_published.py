"""What is committed of a benchmark is what its committed runs give: every table, every pair, nothing else, small."""

from __future__ import annotations

import pytest

from results.archive import ROOT, archived
from results.publish import texts

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


def test_the_documents_show_the_committed_tables() -> None:
    page = (ROOT.parent / "docs" / "offline_v1.md").read_text(encoding="utf-8")
    for name in ("reviews", "filings", "reviews-rates", "filings-rates", "lengths"):
        table = (ROOT / "offline_v1" / f"{name}.md").read_text(encoding="utf-8").split("\n\n")[0]
        assert table in page, name
