"""Tables: the model, the renderings, selection of runs, marks; from ledgers made on the spot."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.records import read_runs
from results.tables.__main__ import main, parse
from results.tables.build import build
from results.tables.checked import LayoutError
from results.tables.layout import free, load, papers, tables_of
from results.tables.model import Cell, Table
from results.tables.render import CSV_COLUMNS, render
from results.tables.state import Options
from tests.unit.results_fixtures import DEMO, demo_ledger, write_run


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with the demo's runs."""
    demo_ledger(tmp_path / "runs")
    return tmp_path / "runs"


def demo_table(root: Path) -> Table:
    """The demo's table from a ledger."""
    return build(load("demo"), read_runs(root))


def score_of(table: Table, label: str) -> Cell:
    """The first cell of scores in a row."""
    key = next(column.key for column in table.columns if column.kind == "score")
    return next(row for row in table.rows if row.label == label).cells[key]


def row_of(table: Table, label: str):
    """The row with a label."""
    return next(row for row in table.rows if row.label == label)


def test_demo_rows_and_points(ledger: Path) -> None:
    table = demo_table(ledger)
    labels = [row.label for row in table.rows]
    assert labels == [
        "majority class",
        "zero-shot (digits)",
        "zero-shot (words)",
        "untrained prompt",
        "PT",
        "DePT",
    ]
    values = [round(row.cells["accuracy"].value or 0, 1) for row in table.rows]
    assert values == [50.3, 51.0, 85.0, 51.2, 85.3, 87.1]
    pt = row_of(table, "PT").cells
    assert pt["params"].value == 11520 and pt["size"].value == 300
    assert pt["accuracy"].spread == pytest.approx(100 * (0.853 * 0.147 / 300) ** 0.5)
    assert pt["accuracy"].spread_kind == "se"


GOLDEN = """\
|                    | params |                    accuracy | n test |
|--------------------|-------:|----------------------------:|-------:|
| majority class     |      0 | 50.3 ± 2.9 (1) <sup>a</sup> |    300 |
| zero-shot (digits) |      0 | 51.0 ± 2.9 (1) <sup>a</sup> |    300 |
| zero-shot (words)  |      0 | 85.0 ± 2.1 (1) <sup>a</sup> |    300 |
| untrained prompt   |      0 | 51.2 ± 2.9 (1) <sup>a</sup> |    300 |
| PT                 | 11,520 | 85.3 ± 2.0 (1) <sup>b</sup> |    300 |
| DePT               | 18,300 | 87.1 ± 1.9 (1) <sup>b</sup> |    300 |
"""


def test_markdown_golden(ledger: Path) -> None:
    text = render(demo_table(ledger), "markdown")
    assert text.split("\n\n")[0] + "\n" == GOLDEN
    assert text.count("binomial standard error") == 1 and "<sup>b</sup> not tested: one trained run" in text
    assert "6 examples at the least" in text and "2.0 points on demo/movie_reviews (n = 300)" in text


def test_csv_has_the_agreed_columns(ledger: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(render(demo_table(ledger), "csv"))))
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert len(rows) == 6
    pt = next(row for row in rows if row["method"] == "PT")
    assert (pt["ours"], pt["n_seeds"], pt["task"], pt["metric"]) == ("85.3", "1", "demo/movie_reviews", "accuracy")
    assert pt["backbone"] == "smollm2_135m" and pt["run_ids"]


def test_seeds_are_averaged_and_spread_is_the_deviation(tmp_path: Path) -> None:
    for seed, score in enumerate((0.80, 0.82, 0.84)):
        write_run(tmp_path, "pt", seed=seed, test=score)
    table = build(free(read_runs(tmp_path).runs, "method", "task", {}), read_runs(tmp_path))
    cell = row_of(table, "pt").cells["task=demo/movie_reviews"]
    assert cell.value == pytest.approx(82.0)
    assert cell.spread == pytest.approx(2.0) and cell.spread_kind == "sd"
    assert cell.n == 3


def test_best_trial_is_chosen_by_validation_not_by_test(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", validation=0.90, test=0.80, config={"method": {"lr": {"prompt": 0.1}}})
    write_run(tmp_path, "pt", validation=0.70, test=0.95, config={"method": {"lr": {"prompt": 0.2}}})
    reading = read_runs(tmp_path)
    layout = free(reading.runs, "method", "task", {})
    honest = build(layout, reading)
    assert row_of(honest, "pt").cells["task=demo/movie_reviews"].value == pytest.approx(80.0)
    assert "pt 2" in " ".join(honest.caption)
    asked = build(layout, reading, Options(selection="reported"))
    assert row_of(asked, "pt").cells["task=demo/movie_reviews"].value == pytest.approx(95.0)
    assert "selection=reported" in " ".join(asked.caption)


def test_protocols_are_never_averaged(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "pt", test=0.9, config={"protocol": {"name": "lester"}})
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    labels = [row.label for row in table.rows]
    assert labels == ["pt [protocol=carved]", "pt [protocol=lester]"]
    assert any(text.startswith("Mixed protocol") for text in table.caption)


def test_failed_runs_are_marks_with_their_reason(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "dept", status="failed", test=None, reason="CUDA out of memory")
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    cell = row_of(table, "dept").cells["task=demo/movie_reviews"]
    assert cell.value is None and cell.text == "failed"
    assert "CUDA out of memory" in table.footnotes()[0]
    assert "failed<sup>a</sup>" in render(table).replace(" ", "")


def test_broken_folders_are_named_and_skipped(ledger: Path) -> None:
    (ledger / "torn").mkdir()
    (ledger / "torn" / "record.json").write_text('{"run_id": "torn", "stat')
    (ledger / "odd").mkdir()
    (ledger / "odd" / "record.json").write_text('{"run_id": "odd", "status": "done", "metrics": 3}')
    reading = read_runs(ledger)
    assert len(reading.runs) == 5
    assert sorted(problem.split(":")[0] for problem in reading.problems) == ["odd", "torn"]
    assert any("left out: 2" in text for text in demo_table(ledger).caption)


def test_fixture_runs_are_kept_out_unless_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8, config=DEMO)
    write_run(tmp_path, "dept", test=0.9, config={**DEMO, "data": {"source": "fixture"}})
    reading = read_runs(tmp_path)
    table = build(load("demo"), reading)
    assert row_of(table, "DePT").cells["accuracy"].value is None
    assert any("Kept out" in text for text in table.caption)
    asked = build(load("demo"), reading, Options(fixtures=True))
    assert row_of(asked, "DePT").cells["accuracy"].value == pytest.approx(90.0)


def test_missing_cells_have_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "pt", config=DEMO)
    assert main(["paper=demo", f"ledger.root={tmp_path}", "--commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("method=dept" in line and line.startswith("python run.py") for line in lines)
    assert not any("method=pt" in line.split() for line in lines)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["paper=dmo"], "did you mean demo"),
        (["paper=demo", "table=9"], "has the tables main"),
        (["format=word"], "markdown, csv, latex, html"),
        (["selection=test"], "validation, reported"),
        (["demo"], "key=value"),
        (["margin=wide"], "points"),
        (["paper=demo", "rows=method"], "exclude each other"),
    ],
)
def test_wrong_arguments_are_explained(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_unknown_facet_is_refused(ledger: Path) -> None:
    with pytest.raises(LayoutError, match="no run has it"):
        free(read_runs(ledger).runs, "methd", "task", {})


def test_filters_are_typed_as_hydra_users_type_them() -> None:
    settings, filters, flags = parse(["paper=demo", "method.lr.prompt=0.1", "seed=1,2", "--commands"])
    assert settings["paper"] == "demo" and flags == ["--commands"]
    assert filters == {"method.lr.prompt": "0.1", "seed": ["1", "2"]}


def test_html_has_provenance_and_escapes(ledger: Path) -> None:
    text = render(demo_table(ledger), "html")
    assert text.count("<tr>") == 7
    assert 'title="runs ' in text and "torch 2.13" in text
    assert 'data-value="85.3"' in text


def test_latex_is_structurally_whole(ledger: Path) -> None:
    text = render(demo_table(ledger), "latex")
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    ended = re.findall(r"\\end\{(\w+)\}", text)
    assert sorted(begun) == sorted(ended)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = body.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert body.count(r"\toprule") == body.count(r"\bottomrule") == 1
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") - line.count(r"\&") for line in rows} == {3}


def test_every_layout_builds_from_an_empty_ledger(tmp_path: Path) -> None:
    for paper in papers():
        for name in tables_of(paper):
            table = build(load(paper, name), read_runs(tmp_path))
            for form in ("markdown", "csv", "latex", "html"):
                assert len(render(table, form)) > 100, (paper, name, form)


def test_command_line_without_torch(ledger: Path) -> None:
    """The table comes without torch or transformers being imported."""
    code = (
        "import sys; from results.tables.__main__ import main; "
        f"main(['paper=demo', 'ledger.root={ledger}']); "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "DePT" in done.stdout
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (1.0, "all of 300 right: no standard error can be estimated; in the long run 99.0 or more are right"),
        (0.0, "none of 300 right: no standard error can be estimated; in the long run 1.0 or less are right"),
    ],
)
def test_a_score_at_its_edge_claims_no_certainty(score: float, said: str, tmp_path: Path) -> None:
    """± 0.0 would say that nothing else could have come out; 0.05 ** (1 / 300) is 0.9901."""
    write_run(tmp_path, "pt", test=score, n=300, config=DEMO)
    cell = score_of(demo_table(tmp_path), "PT")
    assert cell.spread is None and any(note.startswith(said) for note in cell.footnotes)
    text = render(demo_table(tmp_path), "markdown")
    assert "± 0.0" not in text and said in text


def test_seeds_that_score_alike_claim_no_certainty(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path, "pt", seed=seed, test=0.85, n=300, config=DEMO)
    cell = score_of(demo_table(tmp_path), "PT")
    assert cell.spread is None and any("its 3 seeds scored alike" in note for note in cell.footnotes)
