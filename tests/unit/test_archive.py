"""Committed runs: what is kept of them, that the file depends on contents alone, and how they join a ledger."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from results import archive
from results.records import read_runs
from results.tables.against import against
from results.tables.layout import RowSpec, load
from tests.unit.results_fixtures import answers, write_run

SETTINGS = {"runner": {"name": "offline_text", "max_steps": 20, "test_rows": 300}}


def score(rows: list[dict[str, str]]) -> float:
    return sum(row["prediction"] == row["reference"] for row in rows) / len(rows)


def fill(root: Path, method: str, accuracy: float, **fields: object) -> list[str]:
    """Three seeds of a method in the cells of offline_v1's first table."""
    ids = []
    for seed in (1, 2, 3):
        rows = answers(accuracy, seed=seed, flip=len(method))
        config = {**SETTINGS, "method": {"name": method}}
        ids.append(write_run(root, method, seed=seed, test=score(rows), predictions=rows, config=config, **fields))
    return ids


@pytest.fixture()
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(archive, "ROOT", tmp_path / "results")
    return tmp_path


def test_an_archive_gives_back_what_tables_need_and_nothing_of_the_machine(home: Path) -> None:
    (one, *_) = fill(home / "runs", "pt", 0.8, host="a-machine", process=7)
    (home / "runs" / one / "method.safetensors").write_bytes(b"weights")
    path = archive.archive_of("offline_v1")
    archive.pack(read_runs(home / "runs").runs, path)
    with tarfile.open(path) as opened:
        assert {Path(name).name for name in opened.getnames()} == {"record.json", "predictions.test.jsonl"}
    back = {run.id: run for run in read_runs(archive.unpacked(path)).runs}
    assert len(back) == 3 and "a-machine" not in json.dumps(back[one].record)
    (first,) = [run for run in read_runs(home / "runs").runs if run.id == one]
    assert back[one].score() == first.score() and back[one].predictions() == first.predictions()


def test_the_same_runs_make_the_same_file(home: Path) -> None:
    fill(home / "runs", "pt", 0.8)
    runs = read_runs(home / "runs").runs
    archive.pack(runs, home / "one.tar.gz")
    archive.pack(runs[::-1], home / "two.tar.gz")
    assert (home / "one.tar.gz").read_bytes() == (home / "two.tar.gz").read_bytes()


def test_too_large_an_archive_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home / "runs", "pt", 0.8)
    monkeypatch.setattr(archive, "LIMIT", 100)
    with pytest.raises(ValueError, match="more than 100"):
        archive.pack(read_runs(home / "runs").runs, home / "one.tar.gz")
    assert not (home / "one.tar.gz").exists()


def test_a_ledgers_own_runs_win_over_committed_ones(home: Path) -> None:
    ids = fill(home / "runs", "pt", 0.8)
    archive.pack(read_runs(home / "runs").runs, archive.archive_of("offline_v1"))
    own = home / "own"
    write_run(own, "pt", test=0.1, run_id=ids[0])
    write_run(own, "pt", test=0.2, run_id=ids[1], status="failed")
    joined = {run.id: run.score() for run in archive.with_archive(read_runs(own), "offline_v1").runs}
    assert set(joined) == set(ids) and joined[ids[0]] == 0.1 and joined[ids[1]] != 0.2
    assert archive.with_archive(read_runs(own), "another").runs == read_runs(own).runs


def test_only_runs_in_cells_are_archived(home: Path) -> None:
    fill(home / "runs", "pt", 0.8)
    write_run(home / "runs", "pt", task="glue/rte")
    write_run(home / "runs", "pt", seed=9, status="failed", config=SETTINGS)
    assert len(archive.in_cells(read_runs(home / "runs").runs, "offline_v1")) == 3


def test_a_method_is_set_against_every_row_that_can_be_tested(home: Path) -> None:
    fill(home / "runs", "pt", 0.6)
    fill(home / "runs", "dept", 0.9)
    fill(home / "runs", "my_pt", 0.9)
    write_run(home / "runs", "lora", test=0.7, config={**SETTINGS, "method": {"name": "lora"}})
    table, contests, untested = against(
        load("offline_v1", "reviews"), read_runs(home / "runs"), RowSpec("mine", {"method": "my_pt"})
    )
    found = {contest.other: contest for contest in contests}
    assert set(found) == {"PT", "DePT"} and table.rows[-1].label == "mine"
    assert found["PT"].p < 0.05 and 20 < found["PT"].low < found["PT"].value < found["PT"].high < 40
    assert found["DePT"].p > 0.05 and found["DePT"].low < 0 < found["DePT"].high
    assert "LoRA (PEFT)" in untested and "majority class" in untested
