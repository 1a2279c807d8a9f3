"""Statements over records: layouts with a wrong word, other metrics than published, notebooks, contrasts, margins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import results
from results.records import read_runs
from results.reproduction import main as reproduction
from results.tables import contrasts
from results.tables.__main__ import main
from results.tables.build import build, fill
from results.tables.checked import LayoutError
from results.tables.layout import load, parse
from tests.unit.results_fixtures import write_run
from tests.unit.test_alike import cell, scored, table_of
from tests.unit.test_results_compare import paper_run

ROW = {"label": "pt", "where": {"method": "pt"}}
RATE: dict[str, Any] = {"columns": {"a": {"task": "glue/rte"}, "rate": {"kind": "rate"}}, "rows": [ROW]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": {"rate": {"kind": "rat"}}}, "kind=rat: must be one of"),  # it stood there as a score
        ({"columns": {"a": {"metric": "acuracy"}}}, "did you mean accuracy"),
        ({"columns": {"a": {}, "m": {"of": ["a"], "kind": "score"}}}, "kind=score"),
        ({"columns": {"rate": {"kind": "rate"}, "m": {"of": ["rate"]}}}, "rate, which is no column of scores"),
        ({"spread": "SE"}, "spread=SE: must be one of sd, se"),
        ({"rows": [ROW, {**ROW, "value": "median"}]}, "pt stands twice"),
        ({"rows": [{**ROW, "cells": {"b": {"method.prompt_length": 20}}}]}, "cells names b"),
    ],
)
def test_a_word_that_no_layout_knows_is_refused(changes: dict[str, Any], said: str) -> None:
    parse("p", "t", RATE)
    with pytest.raises(LayoutError, match=said):
        parse("p", "t", {**RATE, **changes})


def test_a_published_value_of_another_metric_is_not_compared(tmp_path: Path) -> None:
    for seed in range(3):
        paper_run(tmp_path, "dept", "glue/stsb", seed, 0.907 + 0.001 * seed, "spearman", n=1500)
    layout = load("dept", "1")
    from dataclasses import replace

    columns = [replace(c, metric="spearman") if c.key == "STS-B" else c for c in layout.columns]
    found = build(replace(layout, columns=tuple(columns)), read_runs(tmp_path))
    made = next(row for row in found.rows if row.label == "DePT").cells["STS-B"]
    assert made.verdict == "not comparable" and "metric spearman, published pearson" in made.verdict_why


def test_a_run_on_a_part_of_the_training_rows_reproduces_nothing(tmp_path: Path) -> None:
    rows = {"train": 2490, "validation": 138, "test": 139}
    for seed in range(3):
        data = {"source": "hub", "rows": rows, "used_rows": {**rows, "train": 100}, "sha256": "ab"}
        paper_run(tmp_path, "dept", "glue/rte", seed, 0.79 + 0.001 * seed, data=data)
    table = build(load("dept", "1"), read_runs(tmp_path))
    made = next(row for row in table.rows if row.label == "DePT").cells["RTE"]
    assert made.verdict == "not comparable" and "trained on 100 of 2,490 rows" in made.verdict_why


@pytest.mark.parametrize("margin", ["nan", "inf", "-1", "0", "x"])
def test_a_margin_is_a_number_of_points(tmp_path: Path, margin: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    assert main(["rows=method", "cols=task", f"margin={margin}", f"ledger.root={tmp_path}"]) == 2
    assert reproduction(["paper=dept", f"margin={margin}", f"ledger.root={tmp_path}"]) == 2
    assert capsys.readouterr().err.count(f"margin={margin}") == 2


def test_a_method_that_is_known_from_an_abstract_is_compared_under_its_name(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scored(tmp_path, "pt", seed, 0.6)
        scored(tmp_path, "apt", seed, 0.9)
    (row,) = results.compare("apt", "pt", root=tmp_path).to_dict("records")
    assert row["difference"] > 20 and row["different"] and not row["note"]
    (back,) = results.compare("pt", "apt", root=tmp_path).to_dict("records")
    assert back["difference"] == pytest.approx(-row["difference"])


def test_where_nothing_can_be_compared_the_notebook_says_why(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scored(tmp_path, "pt", seed, 0.6)
        scored(tmp_path, "dept", seed, 0.9, n=100, config={"runner": {"test_rows": 100}})
    (row,) = results.compare("dept", "pt", root=tmp_path).to_dict("records")
    assert row["difference"] != row["difference"] and row["note"]


def test_a_declared_contrast_of_a_row_that_is_split_is_said_to_be_untested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contrasts, "FOLDER", tmp_path)
    (tmp_path / "contrasts").mkdir()
    text = "declared: 2026-11-25\ntables: {t: [[DePT, PT]]}\n"
    (tmp_path / "contrasts" / "p.yaml").write_text(text)
    root = tmp_path / "runs"
    for seed in (1, 2):
        scored(root, "pt", seed, 0.6)
        scored(root, "dept", seed, 0.9)
        scored(root, "dept", seed, 0.8, config={"protocol": {"name": "lester"}})
    rows = [{"label": "PT", "where": {"method": "pt"}}, {"label": "DePT", "where": {"method": "dept"}}]
    spec = {"columns": {"a": {"metric": "accuracy"}}, "rows": rows}
    state, _ = fill(parse("p", "t", spec), read_runs(root))
    assert "not tested: DePT less PT, of several settings" in contrasts.sentence(state)


def test_trials_that_were_chosen_on_the_reported_split_are_said_to_be(tmp_path: Path) -> None:
    for length, score in ((20, 0.6), (60, 0.9)):
        run = {"test": None, "validation": score, "primary_split": "validation"}
        write_run(tmp_path, "pt", **run, config={"method": {"prompt_length": length}})
    said = " ".join(table_of(tmp_path).caption)
    assert "which is the reported split itself of demo/movie_reviews" in said


def test_the_optimism_of_a_winner_with_one_seed_is_said(tmp_path: Path) -> None:
    for length, score in ((20, 0.6), (60, 0.9)):
        write_run(tmp_path, "pt", test=score, validation=score, config={"method": {"prompt_length": length}})
    assert any("one seed cannot tell" in text for text in table_of(tmp_path).caption)


def test_where_nothing_could_be_chosen_no_best_trial_is_spoken_of(tmp_path: Path) -> None:
    for length in (20, 60):
        write_run(tmp_path, "pt", validation=None, config={"method": {"prompt_length": length}})
    table = table_of(tmp_path)
    assert cell(table, "pt").text == "ambiguous" and not any("Best trial" in text for text in table.caption)
