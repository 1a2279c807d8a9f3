"""What is known from an abstract alone is called so wherever its row or column stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.ensembles import _name
from results.plots import palette
from results.plots.runs import read
from results.records import read_runs
from results.report import payload
from results.standing import FROM_ABSTRACT, STANDING, told
from results.tables.appendix import appendix
from results.tables.build import fill
from results.tables.contests import pairs_text
from results.tables.latex import latex
from results.tables.layout import Layout, RowSpec, free, load, papers, tables_of
from results.tables.render import FORMATS, html_page, render
from results.tables.rows import with_medians
from results.tables.state import Options
from tests.unit.test_tables_more import scored

CARDS = Path(__file__).resolve().parents[2] / "docs" / "methods"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for method, accuracy in (("pt", 0.6), ("sesom", 0.9), ("context_lora", 0.8)):
        for seed in (1, 2, 3):
            scored(root, method, "glue/rte", seed, accuracy)
    return root


@pytest.mark.parametrize("turned", [False, True], ids=["in rows", "in columns"])
@pytest.mark.parametrize("form", [*FORMATS, "standalone", "page", "appendix"])
def test_every_format_of_a_table(root: Path, form: str, turned: bool) -> None:
    reading = read_runs(root)
    layout = free(reading.runs, "task" if turned else "method", "method" if turned else "task", {})
    state, table = fill(layout, reading, Options())
    made = {"standalone": lambda: latex(table, True), "page": lambda: html_page(table),
            "appendix": lambda: appendix(state, table)}  # fmt: skip
    text = made[form]() if form in made else render(table, form)
    if turned and form in ("appendix", "csv"):  # their lines are the rows' alone, and the tasks' or runs'
        return
    joined = "\\_" if form in ("latex", "standalone") else "_"
    for name in ("sesom, after the abstract", f"context{joined}lora, text form after the abstract"):
        assert name in text, text
    assert "pt, " not in text.replace("sesom, ", "")


def test_pairs_reports_figures_and_ensembles(root: Path) -> None:
    reading = read_runs(root)
    text = pairs_text(free(reading.runs, "method", "task", {}), reading)
    assert "| sesom, after the abstract |" in text
    assert palette.label("sesom") == "sesom, after the abstract" and palette.label("pt") == "PT"
    runs, problems = read(root, {})
    told_there = payload.build(runs, problems, title="", made="", ledger="").index["labels"]
    assert told_there["sesom"] == "sesom, after the abstract"
    assert any("sesom, after the abstract" in _name(run) for run in reading.runs)


def test_however_a_layout_is_made_or_changed(root: Path) -> None:
    rows = (
        RowSpec("mine", {"method": ["pt", "sesom"]}),
        RowSpec("Known, after the abstract", {"method": "sesom"}),
        RowSpec("narrowed", {"seed": 1}, cells={"rte": {"method": "sesom"}}),
        RowSpec("PT", {"method": "pt"}),
    )
    layout = with_medians(Layout("", "", "title", (), rows).narrowed({"method": "context_ia3"}))
    assert layout.title == "title, text form after the abstract"
    labels = [row.label for row in layout.rows]
    assert labels[0] == "mine, after the abstract" and labels.count("Known, after the abstract") == 1
    assert "narrowed, after the abstract" in labels and "PT" in labels
    assert all(label.count(FROM_ABSTRACT) <= 1 for label in labels)


def test_every_row_of_the_layouts_and_every_card() -> None:
    for paper in papers():
        for name in tables_of(paper):
            for row in load(paper, name).rows:
                assert told(row.methods, row.label) == row.label
    for card in CARDS.glob("*.md"):
        head = card.read_text(encoding="utf-8").splitlines()[0]
        assert (FROM_ABSTRACT in head) == (card.stem in STANDING), card.name
