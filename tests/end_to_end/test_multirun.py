"""`run.py -m` as its users meet it: exit codes, what is skipped, what goes on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.ledger import Ledger
from runners.sweep import main

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "backbone=tiny_llama", "task=demo/movie_reviews", "data=fixture", "runner=smoke", "method=pt",
    "method.prompt_length=3", "runner.device=cpu",
]  # fmt: skip


def statuses(root: Path) -> dict[str, str]:
    return {record["run_id"]: record["status"] for record in Ledger(root).records()}


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("run ")]


def start(root: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "run.py"), "-m", *TINY, f"ledger.root={root}", *overrides]
    return subprocess.Popen(
        command, cwd=root.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(root: Path, name: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not list(root.glob(f"*/{name}")):
        assert time.monotonic() < until, f"no {name} appeared in {root}"
        time.sleep(0.05)


def test_a_sweep_runs_every_point_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = [*TINY, f"ledger.root={tmp_path}", "method.lr.prompt=0.1,0.3"]
    assert main(sweep) == 0
    first = capsys.readouterr().out
    assert len(lines(first)) == 2 and set(statuses(tmp_path).values()) == {"done"}
    assert "best of 2 trials" in first and first.rstrip().endswith("sweep of 2 points: 2 done")
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/record.json")}
    assert main(sweep) == 0
    assert "2 done (2 already)" in capsys.readouterr().out
    assert times == {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/record.json")}


def test_a_failing_point_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # a rate at which the loss is soon no number, which only shows in training
    sweep = [*TINY, f"ledger.root={tmp_path}", "method.lr.prompt=1e38,0.1", "seed=1"]
    assert main(sweep) == 1
    out = capsys.readouterr().out
    assert sorted(statuses(tmp_path).values()) == ["done", "failed"]
    assert "1 refused or failed" in out and "retry_failed=true" in out and "go on with: python run.py -m" in out
    assert main([*sweep, "fail_fast=true"]) == 1, "failed ones are not tried again unless asked"
    other = tmp_path / "fast"
    assert main([*TINY, f"ledger.root={other}", "method.lr.prompt=1e38,0.1", "fail_fast=true"]) == 1
    assert list(statuses(other).values()) == ["failed"]


def test_bad_points_are_refused_before_the_first_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY[:4], f"ledger.root={tmp_path}", "method=pt,dpt", "method.prompt_length=3,0"]) == 2
    err = capsys.readouterr().err
    assert "dpt" in err and "prompt_length=0" in err and "nothing was started" in err
    assert statuses(tmp_path) == {}


def test_more_than_a_day_wants_a_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = ["experiment=dept/table1", "data=fixture", "task=glue/rte", "method=dept", f"ledger.root={tmp_path}"]
    assert main(table) == 2
    assert "yes=true" in capsys.readouterr().err
    assert main([*table, "plan=true"]) == 0
    assert "1 missing" in capsys.readouterr().out


def test_a_launcher_for_one_run_or_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import run

    assert run.main([*TINY, "hydra/launcher=packed"]) == 2
    assert "add -m" in capsys.readouterr().err
    assert run.main(["-m", *TINY, "hydra/launcher=nosuch"]) == 2
    assert "packed" in capsys.readouterr().err


@pytest.mark.slow
def test_points_of_another_precision_get_a_process_of_their_own(tmp_path: Path) -> None:
    assert main([*TINY, f"ledger.root={tmp_path}", "runner.precision=fp32,bf16"]) == 0
    processes = {record["config"]["runner"]["precision"]: record["process"] for record in Ledger(tmp_path).records()}
    assert processes["fp32"] == os.getpid() != processes["bf16"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "packed"])
def test_launchers(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    more = {"joblib": ["hydra.launcher.n_jobs=2"], "submitit_local": ["hydra.launcher.timeout_min=10"]}
    done = start(tmp_path / "runs", "seed=1,2", f"hydra/launcher={launcher}", *more.get(launcher, []))
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    assert len(lines(out)) == 2 and set(statuses(tmp_path / "runs").values()) == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "packed"])
def test_a_killed_sweep_goes_on(tmp_path: Path, launcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "runs"
    long = ["seed=1,2,3", "runner.max_steps=60", "runner.eval_every=20", "runner.checkpoint_every=5", "pack=3"]
    sweep = start(root, *long, f"hydra/launcher={launcher}")
    wait_for(root, "checkpoint.pt")
    sweep.kill()
    sweep.wait()
    assert "interrupted" in statuses(root).values()
    # alone or packed: a killed pack's runs go on in one process
    assert main([*TINY, f"ledger.root={root}", *long]) == 0
    assert "goes on from step" in capsys.readouterr().err
    fresh = tmp_path / "fresh"
    assert main([*TINY, f"ledger.root={fresh}", *long]) == 0
    for run_id in statuses(root):
        one, other = Ledger(root).run(run_id), Ledger(fresh).run(run_id)
        steps = [row["step"] for row in one.metrics() if "loss" in row]
        assert steps == sorted(set(steps)), "a step stands twice"
        losses = ([row["loss"] for row in run.metrics() if "loss" in row] for run in (one, other))
        assert next(losses) == pytest.approx(next(losses), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "packed"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, launcher: str, number: int, code: int) -> None:
    root = tmp_path / "runs"
    sweep = start(root, "seed=1,2", "runner.max_steps=4000", "runner.eval_every=2000", "runner.checkpoint_every=5",
                  f"hydra/launcher={launcher}", "pack=2")  # fmt: skip
    wait_for(root, "checkpoint.pt")
    sweep.send_signal(number)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == code, err
    assert "go on with: python run.py -m" in out
    assert "Traceback" not in err
