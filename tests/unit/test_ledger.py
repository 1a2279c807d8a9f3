"""The ledger stays readable at any instant, and holds each run for one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from results.ledger import Held, Ledger, Unwritable, default_root

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from results.ledger import Ledger
with Ledger(sys.argv[1]).run("abc").hold() as run:
    run.write_record({"run_id": "abc", "status": "running"})
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_is_held_by_one_process_and_released_by_its_death(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline().strip() == "held"
    run = Ledger(tmp_path).run("abc")
    assert run.is_held() and (run.record() or {})["status"] == "running"
    with pytest.raises(Held, match=f"process {process.pid}"), run.hold():
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not run.is_held() and (run.record() or {})["status"] == "interrupted"
    begun = time.monotonic()
    with run.hold():
        assert time.monotonic() - begun < 5


def test_a_folder_that_cannot_be_written_is_said_with_a_way_on(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(Unwritable, match=r"ledger\.root=DIR"), Ledger(tmp_path / "runs").run("abc").hold():
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": "happy"}'])
def test_a_broken_record_is_reported_and_hides_no_other(tmp_path: Path, text: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.run("good").write_record({"run_id": "good", "status": "done"})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "record.json").write_text(text)
    records, broken = ledger.read()
    assert [record["run_id"] for record in records] == ["good"]
    assert [entry.folder.name for entry in broken] == ["bad"]
    assert "record.json" in broken[0].reason


def test_find_wants_a_prefix_of_exactly_one_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for name in ("abc1", "abd2"):
        ledger.run(name).write_record({"run_id": name, "status": "done"})
    assert ledger.find("abc").id == "abc1"
    with pytest.raises(KeyError, match="2 runs begin so"):
        ledger.find("ab")
    with pytest.raises(KeyError, match="0 runs begin so"):
        ledger.find("x")


def test_the_log_is_cut_back_to_the_rows_a_checkpoint_had_seen(tmp_path: Path) -> None:
    run = Ledger(tmp_path).run("abc")
    run.folder.mkdir()
    for step in range(5):
        run.append_metrics({"step": step})
    run.cut_metrics(3)
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]


def test_every_record_has_a_heartbeat(tmp_path: Path) -> None:
    run = Ledger(tmp_path).run("abc")
    before = time.time()
    run.write_record({"run_id": "abc", "status": "done"})
    assert before <= (run.record() or {})["heartbeat"] <= time.time()


def test_the_default_ledger_lies_beside_run_py_not_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_root() == ROOT / "results" / "runs"


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({}, True),
        ({"format": 3}, False),  # made since it was mended
        ({"official_rows": {"train": 50, "validation": 8, "test": 9}}, False),
        ({"used_rows": {"train": 50, "validation": 4, "test": 8}}, False),  # one of them capped: other places
        ({"official_split": {"train": "train", "validation": "validation", "test": "validation"}}, False),
    ],
)
def test_a_run_whose_test_rows_were_read_as_its_validation_rows_is_stale(
    changes: dict[str, Any], read: bool, tmp_path: Path
) -> None:
    rows = {"train": 50, "validation": 8, "test": 8}
    run = Ledger(tmp_path).run("0" * 16)
    with run.hold():
        run.write_record({"status": "done", "data": {"official_rows": rows, "rows": rows, "used_rows": rows} | changes})
    record = run.record()
    assert record is not None and (record["status"] == "stale") == read
    assert not read or "its test rows were read with the token ids of its validation rows" in record["stale"]
