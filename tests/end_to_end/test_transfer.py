"""A finished run scored on other tasks: records of their own, never taken for runs that were trained there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results.files import read_lines
from results.ledger import Ledger
from results.records import read_runs
from results.tables.build import build
from results.tables.layout import ColumnSpec as Column
from results.tables.layout import Layout, RowSpec
from results.tables.state import Options
from scripts import evaluate
from tasks.sources import FIXTURES
from tests.running import record, run_here

pytestmark = pytest.mark.slow


def score(root: Path, run: str, task: str, *more: str) -> int:
    return evaluate.main(
        [f"run={run[:8]}", f"task={task}", f"ledger={root / 'runs'}", f"cache={root / 'cache'}", *more]
    )


def transfers(root: Path) -> list[dict]:
    return [r for r in Ledger(root / "runs").records() if r.get("transfer")]


def test_questions_on_a_set_without_training_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, "task=mrqa/squad", "backbone=tiny_t5").status == "done"
    run = record(tmp_path)["run_id"]
    assert score(tmp_path, run, "mrqa/bioasq,mrqa/race") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in out if ": run " in line] == ["mrqa/bioasq", "mrqa/race"]
    found = transfers(tmp_path)
    assert sorted(r["task"] for r in found) == ["mrqa/bioasq (from mrqa/squad)", "mrqa/race (from mrqa/squad)"]
    for r in found:
        rows = read_lines(tmp_path / "runs" / r["run_id"] / f"predictions.{r['primary_split']}.jsonl")
        assert len(rows) == r["data"]["used_rows"][r["primary_split"]] > 0
        assert r["transfer"]["run"] == run and r["metrics"][r["primary_split"]]["f1"] >= 0.0
    assert score(tmp_path, run, "mrqa/bioasq") == 0
    assert "(already)" in capsys.readouterr().out and len(transfers(tmp_path)) == 2
    assert score(tmp_path, found[0]["run_id"], "mrqa/race") == 2
    assert "has no tensors of its own" in capsys.readouterr().err


def test_labels_answer_with_the_words_that_were_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, "task=glue/qqp", "backbone=tiny_t5", "protocol=lester").status == "done"
    run = record(tmp_path)["run_id"]
    assert score(tmp_path, run, "glue/mrpc") == 0
    [found] = transfers(tmp_path)
    rows = read_lines(tmp_path / "runs" / found["run_id"] / f"predictions.{found['primary_split']}.jsonl")
    assert {row["reference"] for row in rows} == {"duplicate", "not_duplicate"}
    assert found["metrics"][found["primary_split"]].keys() == {"accuracy", "f1", "mean"}
    capsys.readouterr()


def test_scored_on_its_own_task_it_gives_its_own_numbers(tmp_path: Path) -> None:
    assert run_here(tmp_path, "task=superglue/boolq", "method=dept").status == "done"
    own = record(tmp_path)
    assert score(tmp_path, own["run_id"], "superglue/boolq") == 0
    [found] = transfers(tmp_path)
    assert found["metrics"][found["primary_split"]] == own["metrics"][own["primary_split"]]
    assert found["transfer"]["identity"] == own["identity"]  # what its source was made of parts it from other seeds


def test_how_a_run_was_trained_cannot_be_said_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, "task=glue/qqp").status == "done"
    run = record(tmp_path)["run_id"]
    assert score(tmp_path, run, "glue/mrpc", "runner.precision=bf16") == 2
    assert "the run was trained so; only runner.test_rows" in capsys.readouterr().err and not transfers(tmp_path)


def test_no_table_of_the_target_takes_it(tmp_path: Path) -> None:
    assert run_here(tmp_path, "task=glue/qqp").status == "done"
    run = record(tmp_path)["run_id"]
    assert score(tmp_path, run, "glue/mrpc") == 0
    reading = read_runs(tmp_path / "runs")
    layout = Layout(
        "", "t", "", tuple(Column(t, t, where={"task": t}) for t in ("glue/mrpc", "glue/qqp")),
        (RowSpec("PT", {"method": "pt"}),),
    )  # fmt: skip
    [row] = build(layout, reading, Options(fixtures=True)).rows
    assert row.cells["glue/qqp"].run_ids == [run] and row.cells["glue/mrpc"].text == "missing"


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("mrqa/bioasq", "two forms"),
        ("glue/mnli", "2 and 3 labels"),
        ("glue/mrpp", "glue/mrpc"),
        ("glue/stsb", "two forms"),
    ],
)
def test_what_is_not_of_its_form_is_refused(
    task: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(tmp_path, "task=glue/qqp").status == "done"
    run = record(tmp_path)["run_id"]
    capsys.readouterr()
    assert score(tmp_path, run, task) == 2
    assert said in capsys.readouterr().err and not transfers(tmp_path)
    assert score(tmp_path, run, "glue/mrpc", "method=dept") == 2
    assert score(tmp_path, "ffff", "glue/mrpc") == 2


def test_rows_that_moved_are_scored_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks.cache

    assert run_here(tmp_path, "task=glue/qqp").status == "done"
    run = record(tmp_path)["run_id"]
    assert score(tmp_path, run, "glue/mrpc") == 0
    [first] = transfers(tmp_path)
    ledger = Ledger(tmp_path / "runs")
    ledger.run(first["run_id"]).write_record(first | {"metrics": {}})  # so that a second scoring is seen
    monkeypatch.setattr(tasks.cache, "observed_sha256", lambda *_: first["data"]["sha256"])
    assert score(tmp_path, run, "glue/mrpc") == 0 and transfers(tmp_path)[0]["metrics"] == {}
    monkeypatch.setattr(tasks.cache, "observed_sha256", lambda *_: "f" * 64)
    assert score(tmp_path, run, "glue/mrpc") == 0 and transfers(tmp_path)[0]["metrics"] == first["metrics"]


@pytest.mark.parametrize(("backbone", "protocol"), [("tiny_t5", "carved"), ("tiny_bert", "ptuning_v2")])
def test_classes_are_told_by_their_names_where_these_stand_in_another_order(
    backbone: str, protocol: str, tmp_path: Path
) -> None:
    """MNLI: entailment, neutral, contradiction; CB: entailment, contradiction, neutral. The same rows under both."""
    steps = ("runner.max_steps=20", "runner.eval_every=20", "runner.test_rows=12", "runner.validation_rows=12")
    assert run_here(tmp_path, "task=glue/mnli", f"backbone={backbone}", f"protocol={protocol}", *steps).status == "done"
    own = record(tmp_path)
    labels = ["entailment", "neutral", "contradiction"]
    rows: dict[str, list[dict]] = {}
    for row in read_lines(FIXTURES / "glue" / "mnli.jsonl"):
        rows.setdefault(row.pop("_split").removesuffix("_matched"), []).append(row | {"label": labels[row["label"]]})
    folder = tmp_path / "data" / "superglue" / "cb"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[split]))
    local = ("data=local", f"data.root={tmp_path / 'data'}")
    assert score(tmp_path, own["run_id"], "superglue/cb", *local) == 0
    [found] = transfers(tmp_path)
    told = [
        read_lines(tmp_path / "runs" / r["run_id"] / f"predictions.{r['primary_split']}.jsonl") for r in (own, found)
    ]
    words = [own["config"]["task"]["labels"] if protocol == "ptuning_v2" else ["0", "1", "2"]] * 2
    named = [
        [(labels[w.index(x["prediction"])], labels[w.index(x["reference"])]) for x in rows_]
        for rows_, w in zip(told, words, strict=True)
    ]
    assert named[0] == named[1] and len({p for p, _ in named[0]} | {r for _, r in named[0]}) == 3
    assert found["metrics"][found["primary_split"]]["accuracy"] == own["metrics"][own["primary_split"]]["accuracy"]
