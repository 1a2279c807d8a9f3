"""Committed runs: what is kept, how they join a ledger, what is published of them; methods against each other."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from results import archive, publish
from results.records import read_runs
from results.tables.build import build
from results.tables.contests import against, every_pair, matrix
from results.tables.layout import RowSpec, load
from tests.unit.results_fixtures import answers, write_run

SETTINGS = {"runner": {"name": "offline_text", "max_steps": 20, "test_rows": 300}}

LENGTHS = {"dept": 12}


def score(rows: list[dict[str, str]]) -> float:
    return sum(row["prediction"] == row["reference"] for row in rows) / len(rows)


def fill(root: Path, method: str, accuracy: float, **fields: object) -> list[str]:
    """Three seeds of a method in the cells of offline_v1's first table."""
    ids = []
    for seed in (1, 2, 3):
        rows = answers(accuracy, seed=seed, flip=len(method))
        config = {**SETTINGS, "method": {"name": method, "prompt_length": LENGTHS.get(method, 20)}}
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
    archive.pack(runs, home / "one.tar.xz")
    archive.pack(runs[::-1], home / "two.tar.xz")
    assert (home / "one.tar.xz").read_bytes() == (home / "two.tar.xz").read_bytes()


def test_too_large_an_archive_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home / "runs", "pt", 0.8)
    monkeypatch.setattr(archive, "LIMIT", 100)
    with pytest.raises(ValueError, match="more than 100"):
        archive.pack(read_runs(home / "runs").runs, home / "one.tar.xz")
    assert not (home / "one.tar.xz").exists()


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
    assert untested["LoRA (PEFT)"].startswith("one trained run") and untested["majority class"] == "no runs"
    bold = {r.label: r.cells["accuracy"].best for r in table.rows}
    assert all(bold[other] is not (contest.significant and contest.value > 0) for other, contest in found.items())


def test_every_pair_is_tested_and_shown_once(home: Path) -> None:
    for method, accuracy in (("pt", 0.6), ("dept", 0.9)):
        fill(home / "runs", method, accuracy)
    contests, untested = every_pair(load("offline_v1", "reviews"), read_runs(home / "runs"))
    (contest,) = contests
    assert (contest.one, contest.other, contest.significant) == ("PT", "DePT", True) and contest.high < 0
    assert "APT, gates after the abstract" in untested and "PT" not in untested
    lines = matrix(contests).splitlines()
    assert lines[0].split("|")[2].strip() == "DePT" and lines[2].startswith(f"| PT | **{contest.value:+.1f}** [")


def test_narrowed_cells_are_held_against_the_first_of_their_row(home: Path) -> None:
    settings = {"runner": {"max_steps": 100, "batch_size": 16}, "backbone": {"name": "minilm_l6"}}
    settings["task"] = {"name": "ner/sec_filings", "kind": "tagging"}
    for length, wrong in ((20, 5), (40, 20)):
        for seed in (1, 2):
            rows = [
                {"id": str(i), "prediction": ["O" if i % wrong == 0 else "B-ORG"], "reference": ["B-ORG"]}
                for i in range(200)
            ]
            found = sum(row["prediction"] == row["reference"] for row in rows)
            method = {"name": "pt", "prompt_length": length, "lr": {"prompt": 0.01, "head": 0.01}}
            write_run(
                home / "runs", "pt", task="ner/sec_filings", metric="f1", test=2 * found / (found + 200), n=200,
                predictions=rows, config=settings | {"method": method}, seed=seed,
            )  # fmt: skip
    layout = load("offline_v1", "lengths")
    table = build(layout, read_runs(home / "runs"))
    cells = table.rows[0].cells
    assert cells["default"].value == pytest.approx(88.9, abs=0.1) and cells["long"].value == pytest.approx(
        97.4, abs=0.1
    )
    assert cells["short"].value is None
    (contest,), untested = every_pair(layout, read_runs(home / "runs"))
    assert untested["APT, 8 (4, 16), gates after the abstract"] == "no predictions are kept"
    assert (contest.one, contest.other) == ("PT, 20 (10, 40)", "twice of it")
    assert contest.value == pytest.approx(8.5, abs=0.1)


def test_what_is_published_is_made_from_the_archive_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method, accuracy in (("pt", 0.6), ("dept", 0.9)):
        fill(home / "runs", method, accuracy)
    assert publish.main(["paper=offline_v1", f"ledger.root={home / 'runs'}"]) == 0
    out = home / "results" / "offline_v1"
    assert not (home / "docs").exists()  # no page asks for parts here
    assert {path.name for path in out.iterdir()} >= {"runs.tar.xz", "reviews.md", "reviews.csv", "reviews-pairs.md"}
    assert (out / "reviews-pareto.png").stat().st_size > 1000 and not list(out.glob("*.pdf"))
    for name, text in publish.texts("offline_v1", archive.archived("offline_v1")).items():
        assert (out / name).read_text(encoding="utf-8") == text
    assert "PT" in (out / "reviews-pairs.md").read_text(encoding="utf-8")


def test_publishing_says_what_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "runs").mkdir()
    assert publish.main([]) == 2 and "results.publish paper=" in capsys.readouterr().err
    assert publish.main(["paper=offline_v1", f"ledger.root={home / 'runs'}"]) == 2
    assert "no run of paper=offline_v1" in capsys.readouterr().err
    assert publish.main(["paper=offline_v2", f"ledger.root={home / 'runs'}"]) == 2
    assert "did you mean offline_v1" in capsys.readouterr().err


def test_what_was_published_is_read_anew_in_the_same_process(home: Path) -> None:
    fill(home / "runs", "pt", 0.8)
    path = archive.archive_of("offline_v1")
    archive.pack(read_runs(home / "runs").runs, path)
    assert len(archive.archived("offline_v1").runs) == 3
    fill(home / "runs", "dept", 0.8)
    archive.pack(read_runs(home / "runs").runs, path)
    assert len(archive.archived("offline_v1").runs) == 6
