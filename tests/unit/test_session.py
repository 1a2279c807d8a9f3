"""What a session keeps, and that going on equals never having stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from results.ledger import Ledger, RunFolder
from runners.checkpoint import CorruptCheckpoint
from runners.config import RunnerConfig, ScheduleConfig
from runners.order import BatchOrder
from runners.session import NotFinite, Session, rng_state
from runners.verdicts import unreached

STEPS = 12


def run_of(root: Path, name: str = "run") -> RunFolder:
    run = Ledger(root).run(name)
    run.folder.mkdir(exist_ok=True)
    return run


def session_of(run: RunFolder, **options: object) -> Session:
    runner = RunnerConfig(max_steps=STEPS, eval_every=3, batch_size=2, log_every=2, **options)  # type: ignore[arg-type]
    runner.schedule = ScheduleConfig("linear", 2)
    parameter = nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3))
    return Session(run, runner, {"prompt": {"prompt": parameter}}, {"prompt": 0.1}, BatchOrder([1] * 7, 2, 5))


def one_step(session: Session) -> None:
    """A toy loss that depends on the batch and on the random state."""
    parameter = session.parameters["prompt.prompt"]
    loss = ((parameter - sum(session.indices())) * torch.rand(2, 3)).pow(2).mean()
    loss.backward()
    session.update(loss, len(session.indices()), 0.0)
    if session.evaluation_is_due():
        session.consider("validation", {"accuracy": math.sin(session.step)}, "accuracy")


def rows(run: RunFolder) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if k != "examples_per_second"} for row in run.metrics()]


@pytest.mark.parametrize("stop", range(1, STEPS))
def test_stopping_at_any_step_changes_nothing(tmp_path: Path, stop: int) -> None:
    torch.manual_seed(3)
    straight = session_of(run_of(tmp_path, "straight"))
    while not straight.finished:
        one_step(straight)
    torch.manual_seed(3)
    first = session_of(run_of(tmp_path))
    while first.step < stop:
        one_step(first)
    first.save([rng_state()])
    one_step(first)  # work that a kill then loses
    torch.manual_seed(99)
    second = session_of(run_of(tmp_path))
    assert second.resume() and second.step == stop
    while not second.finished:
        one_step(second)
    assert torch.equal(second.parameters["prompt.prompt"], straight.parameters["prompt.prompt"])
    assert (second.best.step, second.best.score) == (straight.best.step, straight.best.score)
    assert torch.equal(second.best.tensors["prompt.prompt"], straight.best.tensors["prompt.prompt"])
    assert rows(run_of(tmp_path)) == rows(run_of(tmp_path, "straight"))
    ours, theirs = second.optimizer.state_dict(), straight.optimizer.state_dict()
    for key, value in theirs["state"][0].items():
        assert torch.equal(ours["state"][0][key], value)


def test_an_evaluation_logged_after_the_checkpoint_is_not_logged_twice(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    session = session_of(run)
    for _ in range(2):
        one_step(session)
    parameter = session.parameters["prompt.prompt"]
    parameter.sum().backward()
    session.update(torch.tensor(1.0), 2, 0.0)
    session.save([rng_state()])  # SIGTERM came just before the evaluation of step 3
    session.consider("validation", {"accuracy": 0.5}, "accuracy")
    again = session_of(run)
    again.resume()
    assert again.evaluation_is_due()
    again.consider("validation", {"accuracy": 0.5}, "accuracy")
    assert sum("metrics" in row for row in run.metrics()) == 1


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_corrupt_checkpoint_is_one_error_and_stays(tmp_path: Path, damage: bytes | None) -> None:
    run = run_of(tmp_path)
    session = session_of(run)
    one_step(session)
    session.save([rng_state()])
    session.log({"step": 1, "note": "kept"})
    path = run / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    before = path.read_bytes()
    with pytest.raises(CorruptCheckpoint, match=r"checkpoint\.pt: .*force=true"):
        session_of(run).resume()
    assert path.read_bytes() == before and run.metrics()[-1]["note"] == "kept"


def test_nothing_in_a_checkpoint_can_execute(tmp_path: Path) -> None:
    import pickle

    run = run_of(tmp_path)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "executed",))  # type: ignore[return-value]

    (run / "checkpoint.pt").write_bytes(pickle.dumps({"step": Evil()}))
    with pytest.raises(CorruptCheckpoint):
        session_of(run).resume()
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_holds_kilobytes(tmp_path: Path) -> None:
    session = session_of(run_of(tmp_path))
    one_step(session)
    session.save([rng_state()])
    assert (session.run / "checkpoint.pt").stat().st_size < 40_000


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, loss: float) -> None:
    session = session_of(run_of(tmp_path))
    with pytest.raises(NotFinite, match=r"step 1: before any update, so no learning rate made it"):
        session.update(torch.tensor(loss), 2, 0.0)
    session = session_of(run_of(tmp_path, "later"))
    one_step(session)
    with pytest.raises(NotFinite, match=r"step 2: try a smaller learning rate"):
        session.update(torch.tensor(loss), 2, 0.0)


def test_a_tensor_that_no_loss_depends_on_is_named(tmp_path: Path) -> None:
    """Its values stay as drawn, and the score would stand under a method that was not trained."""
    session = session_of(run_of(tmp_path))
    assert session.unreached() == []  # before the first step nothing is known
    session.update(torch.tensor(1.0), 2, 0.0)
    assert session.unreached() == ["prompt.prompt"]
    assert unreached(["prompt.prompt"])[0]["level"] == "warning" and not unreached([])
    one_step(session)
    assert session.unreached() == []


def test_the_first_of_equal_scores_is_best_and_patience_counts_the_rest(tmp_path: Path) -> None:
    session = session_of(run_of(tmp_path), patience=2)
    for score in (0.5, 0.5, 0.4):
        assert not session.finished
        session.step += 3
        session.consider("validation", {"accuracy": score}, "accuracy")
    assert session.best.step == 3 and session.finished


def test_seconds_of_compiling_are_a_runs_own_and_add_up_over_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [5.0]  # an earlier run of this process compiled for 5 s
    monkeypatch.setattr("runners.session.compile_seconds", lambda: clock[0])
    first = session_of(run_of(tmp_path))
    one_step(first)
    clock[0] = 12.0
    first.save([rng_state()])
    assert first.compile_seconds == 7
    clock[0] = 1.0  # another process
    second = session_of(run_of(tmp_path))
    assert second.resume()
    clock[0] = 4.0
    assert second.compile_seconds == 10


def test_one_answer_for_everything_is_no_signal_even_above_the_majority() -> None:
    """The training rows' majority may be the other class: a constant answer then stands above it."""
    from runners.outcome import outcome_of

    def hints(name: str, level: str) -> list[str]:
        verdicts = [{"name": "above_majority", "level": "ok", "message": "above"}]
        verdicts.append({"name": name, "level": level, "message": "found"})
        outcome = outcome_of({"status": "done", "run_id": "x", "verdicts": verdicts})
        return [warning for warning in outcome.warnings if "make demo" in warning]

    assert len(hints("constant_predictions", "warning")) == 1 and not hints("truncated", "warning")
