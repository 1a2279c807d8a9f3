"""Rows of several seeds together: best, vote and mean probabilities; and seeds that stand twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from results.records import read_runs
from results.scores import write_scores
from results.tables.build import build
from results.tables.contests import pairs_text
from results.tables.layout import ColumnSpec, Layout, RowSpec, load
from results.tables.model import Table
from results.tables.state import Options
from tests.unit.results_fixtures import write_run

N = 60
TASK = {"name": "glue/rte", "labels": ["no", "yes"], "kind": "classification", "metrics": ["accuracy", "f1"]}
VALUES = ("score", "best", "vote", "soft")


def f1(answers: list[str], gold: list[str]) -> float:
    both = sum(a == g == "1" for a, g in zip(answers, gold, strict=True))
    return 2 * both / (answers.count("1") + gold.count("1"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three seeds, each wrong on another third of the examples: the majority is always right."""
    gold = [str(i % 2) for i in range(N)]
    for seed in (1, 2, 3):
        answers = [g if i % 3 != seed - 1 else str(1 - int(g)) for i, g in enumerate(gold)]
        rows = [
            {"id": str(i), "prediction": a, "reference": g} for i, (a, g) in enumerate(zip(answers, gold, strict=True))
        ]
        both = {"accuracy": 2 / 3, "f1": f1(answers, gold)}
        run_id = write_run(
            tmp_path, "pt", "glue/rte", seed, test=2 / 3, n=N, predictions=rows, config={"task": TASK},
            metrics={"validation": {"accuracy": 0.6}, "test": both},
        )  # fmt: skip
        sure = [{g: math.log(0.9 if g == a else 0.1) for g in ("0", "1")} for a in answers]
        write_scores(tmp_path / run_id / "scores.test.npz", [str(i) for i in range(N)], sure)
    return tmp_path


def table_of(root: Path, **options: Any) -> Table:
    columns = (
        ColumnSpec("params", "params", "parameters"),
        ColumnSpec("acc", "acc.", where={"task": "glue/rte"}, metric="accuracy"),
        ColumnSpec("f1", "F1", where={"task": "glue/rte"}, metric="f1"),
        ColumnSpec("mean", "Avg.", "average", of=(("acc", "f1"),)),
    )
    rows = tuple(RowSpec(value, {"method": "pt"}, value=value) for value in VALUES)
    return build(Layout("", "t", "t", columns, rows), read_runs(root), Options(**options))


def test_best_vote_and_mean_of_probabilities_by_every_metric(root: Path) -> None:
    rows = {row.label: row.cells for row in table_of(root).rows}
    assert [round(rows[v]["acc"].value or 0, 1) for v in VALUES] == [66.7, 66.7, 100.0, 100.0]
    assert rows["vote"]["f1"].value == rows["vote"]["mean"].value == 100.0
    singles = [run.score(metric="f1") for run in read_runs(root).runs]
    assert rows["best"]["f1"].value == pytest.approx(100 * max(s for s in singles if s is not None))
    assert all(rows[v]["acc"].n == 3 for v in VALUES) and rows["vote"]["acc"].spread is None
    assert rows["score"]["params"].value == rows["best"]["params"].value == 11520
    assert rows["vote"]["params"].value == rows["soft"]["params"].value == 3 * 11520  # all answer


def test_one_number_is_neither_bold_nor_in_a_pair(root: Path) -> None:
    table = table_of(root)
    assert not any(row.cells["acc"].best for row in table.rows if row.label != "score")
    layout = Layout("", "t", "t", (ColumnSpec("acc", "acc.", where={"task": "glue/rte"}),), (
        RowSpec("PT", {"method": "pt"}), RowSpec("PT, vote", {"method": "pt"}, value="vote")))  # fmt: skip
    assert "no two rows can be tested" in pairs_text(layout, read_runs(root))


def test_what_cannot_be_put_together_says_why(root: Path) -> None:
    for path in root.glob("*/scores.test.npz"):
        path.unlink()
    rows = {row.label: row.cells["acc"] for row in table_of(root).rows}
    assert rows["vote"].value == 100.0 and rows["soft"].value is None and rows["soft"].text == "no score"
    assert any("kept no label scores" in note for note in rows["soft"].footnotes)
    path = next(root.glob("*/record.json"))  # a record that its own predictions do not give
    record = json.loads(path.read_text())
    record["metrics"]["test"]["accuracy"] = 0.9
    path.write_text(json.dumps(record))
    rows = {row.label: row.cells["acc"] for row in table_of(root).rows}
    assert rows["vote"].value is None and any("do not give the recorded score" in n for n in rows["vote"].footnotes)
    for path in list(root.glob("*/record.json"))[1:]:
        path.unlink()
    rows = {row.label: row.cells["acc"] for row in table_of(root).rows}
    assert rows["best"].value is None and any("one run alone" in note for note in rows["best"].footnotes)


def test_published_ensembles_stand_beside_ours_without_a_verdict_on_noise(tmp_path: Path) -> None:
    gold = [str(i % 2) for i in range(N)]
    config = {
        "task": {**TASK, "name": "superglue/boolq"}, "protocol": {"name": "lester"}, "runner": {"name": "paper"},
        "method": {"prompt_length": 100, "init": "class_labels"},
        "backbone": {"name": "t5_xxl_lm", "lineage": "T5 v1.1"}, "data": {"source": "hub"},
    }  # fmt: skip
    for seed in (1, 2, 3):
        rows = [{"id": str(i), "prediction": g, "reference": g} for i, g in enumerate(gold)]
        write_run(
            tmp_path, "pt", "superglue/boolq", seed, test=None, validation=1.0, predictions=rows, config=config, n=N,
            primary_split="validation",
        )  # fmt: skip
    for path in tmp_path.glob("*/predictions.test.jsonl"):
        path.rename(path.parent / "predictions.validation.jsonl")
    table = build(load("pt", "3"), read_runs(tmp_path), Options(significance=False))
    cells = {row.label: row.cells["BoolQ"] for row in table.rows}
    for label, published in (("PT, mean over prompts", 91.1), ("PT, best of 5", 91.3), ("PT, vote of 5", 91.7)):
        assert cells[label].value == 100.0 and cells[label].published == published, label
    assert cells["PT, vote of 5"].verdict == "inconclusive" and "one number" in cells["PT, vote of 5"].verdict_why


def test_a_seed_that_stands_twice_is_said(tmp_path: Path) -> None:
    """Two runs of one configuration and seed (copied from elsewhere, say): one was dropped in silence."""
    first = write_run(tmp_path, "pt", test=0.8)
    second = write_run(tmp_path, "pt", test=0.6, n=999)
    third = write_run(tmp_path, "pt", test=0.8, n=998)  # the same score: nothing to say
    layout = Layout(
        "", "t", "t", (ColumnSpec("a", "a", where={"task": "demo/movie_reviews"}),), (RowSpec("PT", {"method": "pt"}),)
    )
    cell = build(layout, read_runs(tmp_path)).rows[0].cells["a"]
    held = min((first, second, third))
    others = {first, second, third} - {held}
    scores = {first: 80.0, second: 60.0, third: 80.0}
    assert cell.value == scores[held] and cell.n == 1
    [note] = [note for note in cell.footnotes if "left out" in note]
    assert all((name in note) == (scores[name] != scores[held]) for name in others)
