"""Killed, stopped, damaged: the same command goes on and ends as if nothing had been."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import runners.execute
from results.files import read_lines
from runners import checkpoint
from runners.outcome import Outcome
from runners.session import Session
from tests.running import finish, folder, log_without_times, record, run_here, start

STEPS = 100
LONG = (
    "backbone=tiny_t5", "runner.backbone_dropout=true", f"runner.max_steps={STEPS}", "runner.eval_every=20",
    "runner.checkpoint_every=10", "runner.log_every=5", "method.lr.prompt=0.3", "runner.batch_size=4",
    "runner.max_source_length=24", "method.prompt_length=8",
)  # fmt: skip


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the project catches it."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    update = Session.update

    def dying(self: Session, *arguments: Any) -> None:
        if self.step == step:
            raise Killed
        update(self, *arguments)

    monkeypatch.setattr(Session, "update", dying)


def ended(root: Path) -> dict[str, Any]:
    """Everything about a run that must not depend on how often it was killed."""
    kept, path = record(root), folder(root)
    return {
        "metrics": kept["metrics"],
        "untrained": kept["untrained_metrics"],
        "selected": kept["selected_step"],
        "steps": kept["steps"],
        "log": log_without_times(path),
        "predictions": read_lines(path / "predictions.test.jsonl"),
        "tensors": (path / "method.safetensors").read_bytes(),
    }


def last_checkpoint(monkeypatch: pytest.MonkeyPatch, kept: dict[str, Any]) -> None:
    """Note the optimiser, random and best state of the last checkpoint before it is cleared away."""
    save = Session.save

    def noting(self: Session, rng: list[dict[str, Any]]) -> None:
        save(self, rng)
        kept["state"] = checkpoint.read(self.run, self.about)

    monkeypatch.setattr(Session, "save", noting)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """An undisturbed run, and its last checkpoint."""
    root, state = tmp_path_factory.mktemp("straight"), {}
    with pytest.MonkeyPatch.context() as patch:
        last_checkpoint(patch, state)
        assert run_here(root, *LONG).status == "done"
    return ended(root), state["state"]


def test_a_killed_run_goes_on_bit_for_bit(
    tmp_path: Path, straight: tuple[dict[str, Any], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (0, 17, 50, 61):  # before any checkpoint, between two, at an evaluation, between again
        with monkeypatch.context() as patch:
            die_at(patch, step)
            with pytest.raises(Killed):
                run_here(tmp_path, *LONG)
        assert record(tmp_path)["status"] == "interrupted"
    state: dict[str, Any] = {}
    last_checkpoint(monkeypatch, state)
    assert run_here(tmp_path, *LONG).status == "done"
    assert ended(tmp_path) == straight[0]
    timed = ("wall_seconds", "train_seconds")
    ours, theirs = ({k: v for k, v in s.items() if k not in timed} for s in (state["state"], straight[1]))
    assert equal(ours, theirs)


def test_sigterm_stops_with_a_checkpoint_wherever_it_comes(
    tmp_path: Path, straight: tuple[dict[str, Any], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(place: type, name: str, when: int) -> Outcome:
        original, calls = getattr(place, name), iter(range(10**6))

        def signalled(self: Any, *arguments: Any) -> Any:
            if next(calls) == when:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(place, name, signalled)
            return run_here(tmp_path, *LONG)

    handler = signal.getsignal(signal.SIGTERM)
    evaluator = runners.execute.Evaluator
    for place, name, when in (
        (evaluator, "answered", 0),  # the untrained scores
        (Session, "update", 24),  # training: step 25 is finished and kept
        (evaluator, "answered", 1),  # scoring during training
        (Session, "consider", 2),  # the last evaluation: nothing follows in training that would notice
        (runners.execute.Execution, "_report", 0),  # after the last step
    ):
        outcome = stopping(place, name, when)
        assert (outcome.status, outcome.exit_code) == ("stopped", 75), outcome.reason
        assert signal.getsignal(signal.SIGTERM) is handler
    assert run_here(tmp_path, *LONG).status == "done"
    assert ended(tmp_path) == straight[0]


def test_a_corrupt_checkpoint_is_one_error_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, 25)
        with pytest.raises(Killed):
            run_here(tmp_path, *LONG)
    path = folder(tmp_path)
    (path / "checkpoint.pt").write_bytes((path / "checkpoint.pt").read_bytes()[:500])
    log = (path / "metrics.jsonl").read_bytes()
    outcome = run_here(tmp_path, *LONG)
    assert (outcome.status, outcome.exit_code) == ("refused", 2) and "checkpoint.pt: damaged" in str(outcome.reason)
    assert (path / "metrics.jsonl").read_bytes() == log and (path / "checkpoint.pt").stat().st_size == 500
    assert run_here(tmp_path, *LONG, "force=true").status == "done"


def test_a_truncated_data_file_is_one_error(tmp_path: Path) -> None:
    data = tmp_path / "data" / "superglue" / "boolq"
    data.mkdir(parents=True)
    rows = [f'{{"question": "is {i} even", "passage": "numbers", "label": {i % 2}, "idx": {i}}}' for i in range(40)]
    for split in ("train", "validation"):
        (data / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    local = ("data=local", f"data.root={tmp_path / 'data'}")
    first = run_here(tmp_path, "method=majority", *local)
    assert first.status == "done", first.reason
    kept = (folder(tmp_path) / "record.json").read_bytes()
    (data / "train.jsonl").write_text("\n".join(rows)[:-30])
    second = run_here(tmp_path, "method=majority", *local)
    assert second.status == "refused" and "train.jsonl" in str(second.reason) and second.run_id != first.run_id
    assert (tmp_path / "runs" / str(first.run_id) / "record.json").read_bytes() == kept


def test_two_processes_do_not_both_train_a_run(tmp_path: Path) -> None:
    """Also: SIGTERM to a real process, its exit code, and the last line."""
    options = (*LONG, "runner.max_steps=100000", "runner.eval_every=100000")
    first = start(tmp_path, *options)
    path = wait_for(tmp_path, "checkpoint.pt")
    second = run_here(tmp_path, *options)
    assert (second.status, second.exit_code) == ("held", 3) and f"process {first.pid}" in str(second.reason)
    assert second.line == f"run {second.run_id} held"
    first.send_signal(signal.SIGTERM)
    code, line, err = finish(first)
    assert (code, line) == (75, f"run {second.run_id} stopped") and "goes on from there" in err
    assert (path / "checkpoint.pt").exists() and record(tmp_path)["status"] == "interrupted"


def wait_for(root: Path, name: str, seconds: float = 120) -> Path:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = list((root / "runs").glob(f"*/{name}"))
        if found:
            return found[0].parent
        time.sleep(0.05)
    raise AssertionError(f"no {name} after {seconds} s")


def test_ctrl_c_is_130_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Session, *_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Session, "update", interrupted)
        outcome = run_here(tmp_path)
    assert (outcome.status, outcome.exit_code) == ("interrupted", 130)
    assert run_here(tmp_path).status == "done"


@pytest.mark.slow
def test_killed_at_random_instants_twenty_times(tmp_path: Path) -> None:
    """SIGKILL to forked children at random moments of their life; the end equals an undisturbed run's."""
    quick = (*LONG, "runner.checkpoint_every=5")
    assert run_here(tmp_path / "straight", *quick).status == "done"
    # forks of a server that has done the imports and nothing else: a fork of this process would inherit the locks
    # of its tokenizer's threads without the threads, and could wait for them for ever
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    _, lifetime = _lived(context, tmp_path / "timed", quick, None)
    draw = random.Random(0)
    for _ in range(20):
        before = list((tmp_path / "runs").glob("*/checkpoint.pt"))
        code, _ = _lived(context, tmp_path, quick, draw.uniform(0.02, 0.35) * lifetime)
        assert code in (0, -signal.SIGKILL)
        if code == 0 and not before:  # done before it could be killed: begin again
            shutil.rmtree(tmp_path / "runs")
    assert run_here(tmp_path, *quick).status == "done"
    assert ended(tmp_path) == ended(tmp_path / "straight")
    assert load_file(folder(tmp_path) / "method.safetensors")


def _lived(
    context: ForkServerContext, root: Path, options: tuple[str, ...], seconds: float | None
) -> tuple[int | None, float]:
    """A run in a process of its own, killed after `seconds`: (exit code, seconds it lived)."""
    child = context.Process(target=run_here, args=(root, *options))
    begun = time.monotonic()
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    return child.exitcode, time.monotonic() - begun


@pytest.mark.slow
def test_a_command_killed_for_real_goes_on(tmp_path: Path) -> None:
    options = (*LONG, "runner.max_steps=40", "runner.checkpoint_every=3")
    process = start(tmp_path, *options)
    wait_for(tmp_path, "checkpoint.pt")
    process.kill()
    process.communicate()
    assert run_here(tmp_path, *options).status == "done"
    assert run_here(tmp_path / "straight", *options).status == "done"
    assert ended(tmp_path) == ended(tmp_path / "straight")


def _dies(root: Path, options: tuple[str, ...], stage: str) -> None:
    """A run that kills itself for good inside a stage."""
    from methods.xprompt import XPrompt

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    update, prepare = Session.update, XPrompt.prepare

    def updating(self: Session, *arguments: Any) -> None:
        if self.step == 17:  # between two checkpoints
            die()
        update(self, *arguments)

    def preparing(self: XPrompt, gradients: Any) -> None:
        def some() -> Iterator[None]:
            for seen, _ in enumerate(gradients()):
                yield
                if seen == 2:
                    die()

        prepare(self, some if stage == "prune" else gradients)
        die()

    if stage in ("train", "retrain"):
        Session.update = updating  # type: ignore[method-assign]
    else:
        XPrompt.prepare = preparing  # type: ignore[method-assign]
    run_here(root, *options)


@pytest.mark.slow
def test_xprompt_killed_in_each_of_its_stages_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Train, prune, rewind, train again: SIGKILL in the middle of each, then the same command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    quick = (*LONG, "task=demo/movie_reviews", "runner.max_steps=40")

    def all_of(root: Path, killed: bool) -> list[tuple[str, Any]]:
        made: list[tuple[str, Any]] = []
        for method, stages in (("pt", ("train",)), ("xprompt", ("prune", "rewind", "retrain"))):
            given = (*quick, f"method={method}", *([f"method.init_from={made[0][0]}"] if made else []))
            for stage in stages if killed else ():
                child = context.Process(target=_dies, args=(root, given, stage))
                child.start()
                child.join(240)
                assert child.exitcode == -signal.SIGKILL, stage
            done = run_here(root, *given)
            assert done.status == "done", done.reason
            path = root / "runs" / str(done.run_id)
            tensors = (path / "method.safetensors").read_bytes()
            made.append((str(done.run_id), (done.line, tensors, read_lines(path / "predictions.test.jsonl"))))
        return made

    straight = all_of(tmp_path / "straight", killed=False)
    assert all_of(tmp_path / "killed", killed=True) == straight
    assert "done" in straight[1][1][0]
