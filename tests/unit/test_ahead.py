"""What is made ahead is what would be made now, in order, with its failures, and its thread ends."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from runners.ahead import Ahead
from tests.running import record, run_here


def test_the_next_one_is_made_while_this_one_is_worked_with() -> None:
    ready = threading.Event()

    def make(key: int) -> tuple[int, str]:
        if key == 1:
            ready.set()
        return key, threading.current_thread().name

    with Ahead(make) as ahead:
        assert ahead.take(0, 1)[0] == 0
        assert ready.wait(20), "nobody made the next one"
        assert ahead.take(1) == (1, ahead.take(2)[1]) and ahead.take(3)[1].startswith("ahead")


def test_what_was_not_announced_is_made_and_what_was_announced_in_vain_is_forgotten() -> None:
    made: list[int] = []
    with Ahead(lambda key: made.append(key) or 10 // key) as ahead:  # type: ignore[func-returns-value]
        assert ahead.take(5, 0) == 2  # 0 fails, and nobody asks for it
        assert ahead.take(2, 1) == 5
        assert ahead.take(1) == 10
    assert [key for key in made if key] == [5, 2, 1]


def test_a_failure_comes_where_its_turn_is() -> None:
    with Ahead(lambda key: 10 // key) as ahead:
        assert ahead.take(1, 0) == 10
        with pytest.raises(ZeroDivisionError):
            ahead.take(0)
        assert ahead.take(2) == 5


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), Ahead(lambda key: key) as ahead:
        ahead.take(1, 2)
        raise KeyboardInterrupt
    assert threading.active_count() == before


@pytest.mark.parametrize("more", [[], ["runner.mean_rows=1"]])
def test_a_run_is_bit_for_bit_what_it_is_with_nothing_made_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """Its losses, scores and saved tensors are those of a run that makes every batch when it is asked for."""
    found = []
    for ahead in (True, False):
        if not ahead:
            monkeypatch.setattr(Ahead, "take", lambda self, key, following=None: self.make(key))
        root = tmp_path / str(ahead)
        assert run_here(root, "runner.max_steps=6", "runner.log_every=1", *more).status == "done"
        run = root / "runs" / record(root)["run_id"]
        losses = [line.split(', "learning')[0] for line in (run / "metrics.jsonl").read_text().splitlines()]
        found.append((losses, (run / "method.safetensors").read_bytes()))
    assert len(found[0][0]) > 6 and found[0] == found[1]


def test_the_order_is_the_same_however_it_is_asked_for() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with Ahead(lambda step: [step * 2]) as ahead:
        seen = [ahead.take(step, step + 1) for step in range(50)]
    assert seen == [[step * 2] for step in range(50)] and torch.equal(torch.get_rng_state(), state)
