"""Two gloo processes under torchrun equal one, without a GPU (the frozen backbone's dropout is off)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from results.files import read_lines
from tests.running import command, environment, folder, record, run_here

pytestmark = pytest.mark.slow
SETTINGS = (
    "runner.max_steps=6", "runner.eval_every=3", "runner.log_every=1", "runner.batch_size=5", "runner.train_rows=13",
    "runner.validation_rows=7", "runner.test_rows=7", "runner.eval_batch_size=2", "method.lr.prompt=0.3",
)  # fmt: skip


def torchrun(root: Path, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
    _, script, *arguments = command(root, *more)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    return subprocess.run(
        [*launcher, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", script, *arguments],
        capture_output=True, text=True, timeout=300, env=environment(**environ),
    )  # fmt: skip


@pytest.mark.parametrize(
    "choice",
    [
        ("backbone=tiny_llama", "method=dept", "method.lr.offset=0.01"),
        ("backbone=tiny_t5", "protocol=dept", "runner.schedule.warmup_steps=1"),
        ("backbone=tiny_bert", "backbone.facts.dropout=0.0"),  # the new head's own dropout
    ],
    ids=lambda choice: choice[0],
)
def test_two_processes_equal_one(choice: tuple[str, ...], tmp_path: Path) -> None:
    settings = (*choice, *SETTINGS)
    assert run_here(tmp_path / "one", *settings).status == "done"
    answer = torchrun(tmp_path / "two", *settings)
    assert answer.returncode == 0, answer.stderr
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    lines = [line for line in answer.stdout.splitlines() if line.startswith("run ")]
    assert lines == [answer.stdout.strip().splitlines()[-1]] and lines[0].startswith(f"run {one.name} done ")
    assert record(tmp_path / "two")["processes"] == 2

    losses = [[row["loss"] for row in read_lines(path / "metrics.jsonl") if "loss" in row] for path in (one, two)]
    assert len(losses[0]) == 6 and losses[1] == pytest.approx(losses[0], abs=1e-5)
    scores = [[row["metrics"] for row in read_lines(path / "metrics.jsonl") if "metrics" in row] for path in (one, two)]
    assert scores[0] == scores[1]
    rows = [read_lines(path / "predictions.test.jsonl") for path in (one, two)]
    ids = [row["id"] for row in rows[1]]
    assert len(ids) == len(set(ids)) == record(tmp_path / "two")["data"]["used_rows"]["test"]
    assert rows[0] == rows[1]  # in 3 batches for 2 processes

    again = torchrun(tmp_path / "two", *settings)  # both find it done
    assert again.returncode == 0 and again.stdout.strip().splitlines()[-1] == lines[0]


HALF_BROKEN = """
import os, sys
sys.path.insert(0, {root!r})
import run, torch
from backbones.tuned import Tuned
losses, calls = Tuned.losses, []
def failing(self, batch):
    calls.append(1)
    if os.environ["RANK"] == "1" and len(calls) == 3:
        raise torch.OutOfMemoryError("out of memory on one of them")
    return losses(self, batch)
Tuned.losses = failing
code = run.main(sys.argv[1:])
print("exit", code, file=sys.stderr)
sys.exit(code)
"""


def test_one_failing_process_fails_the_run_with_its_reason_and_hangs_none(tmp_path: Path) -> None:
    from tests.running import ROOT, overrides

    script = tmp_path / "half_broken.py"
    script.write_text(HALF_BROKEN.format(root=str(ROOT)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    answer = subprocess.run(
        [*launcher, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script)]  # noqa: RUF005
        + overrides(tmp_path, *SETTINGS),
        capture_output=True, text=True, timeout=300, env=environment(ACCELERATE_USE_CPU="1"),
    )  # fmt: skip
    assert answer.returncode != 0 and answer.stderr.count("exit 1") == 2
    kept = record(tmp_path)
    assert kept["status"] == "failed" and "process 1 of 2 failed" in kept["reason"]
    assert "out of memory on one of them" in kept["reason"]


def test_a_held_run_is_refused_by_all(tmp_path: Path) -> None:
    from results.ledger import Ledger

    run_here(tmp_path, *SETTINGS)
    run = Ledger(tmp_path / "runs").run(folder(tmp_path).name)
    (run / "record.json").unlink()
    with run.hold():
        answer = torchrun(tmp_path, *SETTINGS)
    assert answer.returncode != 0 and answer.stdout.strip().splitlines()[-1] == f"run {run.id} held"
    assert "exitcode: 3" in answer.stderr.replace("exitcode  :", "exitcode:") and not (run / "record.json").exists()
