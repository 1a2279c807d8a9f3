"""Filters: what is meant, what no run has, and that every page says what it was narrowed to."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.filters import said, settled
from results.plots import command as plots
from results.plots import runs
from results.records import matches, read_runs
from results.report import command as report
from results.tables.__main__ import main
from tests.unit.results_fixtures import demo_ledger, write_run

CONTROL = "dept, shuffled labels (control)"


def ledger(root: Path) -> Path:
    for method in ("pt", "dept", CONTROL):
        write_run(root, method)
    return root


def test_a_name_with_a_comma_is_one_value(tmp_path: Path) -> None:
    found = read_runs(ledger(tmp_path)).runs
    where, lacking = settled({"method": ["dept", "shuffled labels (control)"]}, found)
    assert where == {"method": CONTROL} and not lacking
    where, lacking = settled({"method": ["pt", "dept", "shuffled labels (control)"]}, found)
    assert where == {"method": ["pt", CONTROL]} and not lacking
    assert [run.get("method") for run in found if matches(run, where)].count("dept") == 0


def test_what_no_run_has_is_said(tmp_path: Path) -> None:
    found = read_runs(ledger(tmp_path)).runs
    where, lacking = settled({"method": ["pt", "dpet"], "seed": "9"}, found)
    assert where == {"method": ["pt", "dpet"], "seed": "9"} and lacking == [
        "No run of the ledger has method=dpet, seed=9."
    ]
    assert settled({"method.init_from": "null", "method": "!pt"}, found) == (
        {"method.init_from": None, "method": "!pt"},
        [],
    )
    assert said({"seed": ["1", "2"], "task": "glue/rte", "method.init_from": None}) == (
        "seed=1,2, task=glue/rte, method.init_from=null"
    )


@pytest.mark.parametrize("flags", [[], ["--pairs"], ["format=appendix"], ["format=latex"]])
def test_a_papers_table_says_what_it_was_narrowed_to(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    demo_ledger(tmp_path)
    assert main(["paper=demo", "seed=1,7", *flags, f"ledger.root={tmp_path}"]) == 0
    out = capsys.readouterr().out
    if flags != ["--pairs"]:  # one seed each: there is no pair
        assert "Only runs with seed=1,7." in out and "No run of the ledger has seed=7." in out


def test_a_free_table_says_a_value_that_no_run_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rows=method", "cols=task", f"ledger.root={ledger(tmp_path)}"]
    assert main([*words, "method=pt,dpet"]) == 0
    out = capsys.readouterr().out
    assert "method=pt,dpet." in out and "No run of the ledger has method=dpet." in out
    assert main([*words, f"method={CONTROL}"]) == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert CONTROL in rows and "dept" not in rows and "pt" not in rows


def test_figures_and_the_report_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "runs"
    demo_ledger(root)
    seen, problems = runs.read(root, {"method": ["pt", "dpet"]})
    assert [run.method for run in seen] == ["pt"] and problems == ["No run of the ledger has method=dpet."]
    assert runs.Panel("t", "b", "p", seen, only="seed=1").title == "t · b · protocol p · only seed=1"
    words = ["pareto", "seed=1", f"ledger.root={root}", f"out={tmp_path / 'out'}"]
    assert plots.main(words) == 0
    page = tmp_path / "page.html"
    assert report.main(["seed=1", f"ledger.root={root}", f"out={page}"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "(only seed=1)" in text and "Only runs with seed=1." in text


@pytest.mark.parametrize("key", ["method.lr", "metrics", "config", "verdicts", "method,versions"])
def test_a_key_with_several_values_is_no_facet(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"rows={key}", f"ledger.root={ledger(tmp_path)}"]) == 2
    assert "it holds several values" in capsys.readouterr().err
