"""Whatever goes wrong, the same command goes on, and loses at most the steps since the last checkpoint."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import runners.execute
from results.files import read_lines
from results.ledger import RunFolder
from runners import checkpoint
from runners.record import RunRecord
from runners.session import Session
from tests.running import command, environment, folder, record, run_here

STEPS, EVERY = 12, 3
OPTIONS = (
    f"runner.max_steps={STEPS}", "runner.eval_every=6", f"runner.checkpoint_every={EVERY}", "runner.batch_size=4",
    "runner.max_source_length=24", "method.prompt_length=4", "runner.train_rows=16", "runner.validation_rows=8",
    "runner.test_rows=8", "data=local",
)  # fmt: skip
Root = Path
Fault = Callable[[pytest.MonkeyPatch, Root], None]
execution = runners.execute.Execution


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the project catches it."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    folder_ = place / "superglue" / "boolq"
    folder_.mkdir(parents=True)
    for split, count in (("train", 60), ("validation", 30), ("test", 20)):
        lines = [
            {"question": f"is {i} even", "passage": f"{split} {i}", "label": i % 2, "idx": i} for i in range(count)
        ]
        (folder_ / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


class Noted:
    """The step of the last checkpoint written, and the step from which a run went on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.saved, self.resumed = 0, 0
        write, resume = checkpoint.write, Session.resume

        def writing(run: RunFolder, state: Any, about: Any) -> None:
            write(run, state, about)
            self.saved = state["step"]

        def resuming(session: Session, rank: int = 0) -> bool:
            found = resume(session, rank)
            self.resumed = session.step
            return found

        patch.setattr(checkpoint, "write", writing)
        patch.setattr(Session, "resume", resuming)


def at(place: Any, name: str, call: int, what: Callable[[], Any]) -> Fault:
    """`what` happens before the given call (counted from 0) of a function."""

    def install(patch: pytest.MonkeyPatch, root: Root) -> None:
        original, calls = getattr(place, name), iter(range(10**6))

        def faulty(*arguments: Any, **options: Any) -> Any:
            if next(calls) == call:
                what()
            return original(*arguments, **options)

        patch.setattr(place, name, faulty)

    return install


def kill() -> None:
    raise Killed


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def no_memory() -> None:
    raise MemoryError


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def small_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def whole_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FAULTS: dict[str, Fault] = {
    "killed while rows are read": at(runners.execute, "load_data", 0, kill),
    "killed while the model is loaded": at(runners.execute, "assemble", 0, kill),
    "killed at the untrained scores": at(runners.execute.Evaluator, "answer", 0, kill),
    "killed at step 1": at(Session, "update", 0, kill),
    "killed at step 5": at(Session, "update", 4, kill),
    "killed before the first checkpoint": at(Session, "save", 0, kill),
    "killed while a checkpoint is written": at(torch, "save", 1, kill),
    "killed before a checkpoint has its name": at(os, "link", 0, kill),
    "killed at an evaluation": at(Session, "consider", 0, kill),
    "killed at the last evaluation": at(Session, "consider", 1, kill),
    "killed before the tensors are saved": at(execution, "_save", 0, kill),
    "killed before the scores": at(execution, "_report", 0, kill),
    "killed before predictions are written": at(execution, "_keep", 1, kill),
    "killed before the verdicts": at(execution, "_judge", 0, kill),
    "killed before the record": at(RunRecord, "_end", 0, kill),
    "SIGTERM in training": at(Session, "update", 7, terminate),
    "SIGTERM at the final scores": at(execution, "_report", 0, terminate),
    "out of memory in training": at(Session, "update", 7, out_of_memory),
    "out of memory at an evaluation": at(Session, "consider", 1, no_memory),
    "a full disk at the start": at(runners.execute, "assemble", 0, small_disk),
    "a full disk in training": at(Session, "update", 6, small_disk),
    "a full disk at the final writing": at(execution, "_save", 0, small_disk),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def some(root: Root, pattern: str) -> Path:
    return sorted((root / "cache").rglob(pattern))[0]


DAMAGE: dict[str, Callable[[Root], Any]] = {  # after a run was killed at step 8
    "a torn about.json": lambda root: some(root, "about.json").write_text("{torn"),
    "a flipped bit in an Arrow file": lambda root: flip(some(root, "*.arrow")),
    "no state.json": lambda root: some(root, "state.json").unlink(),
    "a flipped bit in token ids": lambda root: flip(some(root, "*.npy")),
    "a flipped bit in the checkpoint": lambda root: flip(folder(root) / "checkpoint.pt"),
    "a foreign checkpoint": lambda root: _renamed(folder(root) / "checkpoint.pt"),
    "a torn record": lambda root: (folder(root) / "record.json").write_text("{torn"),
}


def _renamed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(folder(path.parents[2]).name.encode(), b"f" * 16, 1))


def answers(root: Root) -> tuple[Any, ...]:
    kept, place = record(root), folder(root)
    return kept["metrics"], read_lines(place / "predictions.test.jsonl"), (place / "method.safetensors").read_bytes()


def go_on(root: Root, options: tuple[str, ...]) -> str:
    """The same command until it is done; a refused checkpoint is deleted, as its sentence says."""
    outcome = run_here(root, *options)
    if outcome.status == "refused":
        assert "checkpoint.before.pt is whole" in str(outcome.reason), outcome.reason
        (folder(root) / "checkpoint.pt").unlink()
        outcome = run_here(root, *options)
    assert outcome.status == "done", outcome.reason
    return str(outcome.reason)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_faults_lose_nothing_beyond_the_checkpoint(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*OPTIONS, f"data.root={rows}")
    assert run_here(tmp_path / "straight", *options).status == "done"
    expected, count, lost = answers(tmp_path / "straight"), 0, 0
    for name, fault in FAULTS.items():
        root = tmp_path / name.replace(" ", "-")
        with monkeypatch.context() as patch, whole_disk():
            noted = Noted(patch)
            fault(patch, root)
            with suppress(Killed):
                assert run_here(root, *options).status in ("failed", "stopped"), name
        lost += _recovered(monkeypatch, root, options, noted.saved, expected, name)
        count += 1
    for name, damage in DAMAGE.items():
        root = tmp_path / name.replace(" ", "-")
        with monkeypatch.context() as patch:
            noted = Noted(patch)
            at(Session, "update", 7, kill)(patch, root)
            with pytest.raises(Killed):
                run_here(root, *options)
        damage(root)
        before = noted.saved - EVERY if "checkpoint" in name else noted.saved  # the damaged one is lost itself
        lost += _recovered(monkeypatch, root, options, before, expected, name)
        count += 1
    lost += _rank_of_two(tmp_path / "two", options)
    count += 1
    assert count == 30
    with capsys.disabled():
        print(f"\n{count} faults, {lost} lost beyond the checkpoint")
    assert lost == 0


def _recovered(
    monkeypatch: pytest.MonkeyPatch, root: Root, options: tuple[str, ...], saved: int, expected: Any, name: str
) -> int:
    """Steps made again although a checkpoint had them; the end is that of an undisturbed run."""
    with monkeypatch.context() as patch:
        again = Noted(patch)
        go_on(root, options)
    assert answers(root) == expected, name
    assert not list(root.rglob(".*.tmp")), name
    shutil.rmtree(root)
    return max(0, saved - again.resumed)


def _rank_of_two(root: Root, options: tuple[str, ...]) -> int:
    """One of two processes under a plain torchrun is killed; two go on from the checkpoint."""
    _, script, *arguments = command(root, *options, "runner.max_steps=3000", "runner.eval_every=3000")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    process = subprocess.Popen(
        [*launcher, script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    )
    until, found = time.monotonic() + 180, []
    while not found and time.monotonic() < until and process.poll() is None:
        time.sleep(0.1)
        found = list((root / "runs").glob("*/checkpoint.pt"))
    assert found, process.communicate(timeout=60)[0][-2000:]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    process.communicate(timeout=180)
    assert process.returncode != 0
    head, problem = checkpoint.checkpoint_head(found[0], found[0].parent.name)
    assert problem is None
    with pytest.MonkeyPatch.context() as patch:
        noted = Noted(patch)
        at(Session, "update", 1, kill)(patch, root)
        with pytest.raises(Killed):
            run_here(root, *options, "runner.max_steps=3000", "runner.eval_every=3000")
    return max(0, head["step"] - noted.resumed)


def test_force_keeps_the_finished_run_until_the_new_one_is_there(
    tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*OPTIONS, f"data.root={rows}")
    assert run_here(tmp_path, *options).status == "done"
    kept = {path: path.read_bytes() for path in folder(tmp_path).iterdir() if path.name != "lock"}
    for fault in (at(Session, "update", 7, terminate), at(Session, "update", 1, kill), at(RunRecord, "_end", 0, kill)):
        with monkeypatch.context() as patch:
            noted = Noted(patch)
            fault(patch, tmp_path)
            with suppress(Killed):
                assert run_here(tmp_path, *options, "force=true").status == "stopped"
        assert {path: path.read_bytes() for path in kept} == kept
        found = run_here(tmp_path, *options)
        assert found.skipped and str(found.found).startswith("from the ledger, trained 20")
    with monkeypatch.context() as patch:
        again = Noted(patch)
        assert run_here(tmp_path, *options, "force=true").status == "done"
    assert again.resumed == STEPS and noted.resumed > 0  # the same command went on each time
    assert not (folder(tmp_path) / "again").exists()
    new = {path: path.read_bytes() for path in kept if path.name in ("method.safetensors", "predictions.test.jsonl")}
    assert new == {path: kept[path] for path in new} and record(tmp_path)["started"] > 0


def test_files_have_the_permissions_of_the_users_mask(tmp_path: Path, rows: Path) -> None:
    before = os.umask(0o027)
    try:
        assert run_here(tmp_path, *OPTIONS, f"data.root={rows}", "runner.max_steps=2").status == "done"
    finally:
        os.umask(before)
    wrong = [path for path in folder(tmp_path).iterdir() if path.is_file() and path.stat().st_mode & 0o777 != 0o640]
    assert not wrong


UNASKED = """
from torch import nn
from methods.base import InputMethod
class Mine(InputMethod):
    def __init__(self, facts, prompt_length, init_rows=None, generator=None):
        super().__init__()
        self.prompt = nn.Parameter(init_rows.clone())  # prompt_slots is not set: prompts() is never asked
    @classmethod
    def count(cls, options, facts):
        return options["prompt_length"] * facts.width
    def groups(self):
        return {"prompt": [self.prompt]}
    def prompts(self, source):
        return self.prompt
"""


@pytest.mark.parametrize("packed", [False, True])
def test_a_loss_that_depends_on_nothing_trained_is_told_in_words(packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(UNASKED)
    own = ["method=own", f"method.path={file}", "method.prompt_length=4"]
    pack = ["-m", "hydra/launcher=packed", "method.capabilities.packs=true"] if packed else []
    rate = "method.lr.prompt=0.1,0.2" if packed else "method.lr.prompt=0.1"
    done = subprocess.run(command(tmp_path, *pack, *own, rate), capture_output=True, text=True, env=environment())
    assert done.returncode == 1 and "Traceback" not in done.stderr
    reasons = [json.loads(path.read_text())["reason"] for path in tmp_path.glob("runs/*/record.json")]
    assert len(reasons) == 1 + packed
    assert all("depends on no tensor of Mine" in reason and "prompt_slots" in reason for reason in reasons)
