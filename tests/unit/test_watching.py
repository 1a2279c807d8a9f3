"""Gates over training: noted at every evaluation, cut back where a run goes on, drawn over the steps that all have."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.base import Method
from results.ledger import RunFolder
from results.plots.command import main
from results.plots.gates_over_training import over_training
from results.plots.runs import Seen
from runners.watching import NAME, Watch
from tests.unit.results_fixtures import write_run


class Telling(Method):
    """A method that tells how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def watch(self) -> None:
        self.asked += 1

    def diagnostics(self) -> dict[str, Any]:
        return {"gates": {"layers": [[self.asked + 0.123456]]}}


class Answering:
    """Stands for the evaluator: its model is put into evaluation mode before it answers."""

    def __init__(self) -> None:
        self.tuned = self.backbone = self
        self.evaluated = False
        self.rows: list[int] = []

    def in_step(self) -> AbstractContextManager[None]:
        return nullcontext()

    def eval(self) -> None:
        self.evaluated = True

    def answer(self, split: Any, rows: list[int]) -> list[Any]:
        assert self.evaluated
        self.rows = rows
        return []


class Split:
    examples = range(5)


def watch(folder: Path, method: Method | None = None, main_process: bool = True) -> Watch:
    return Watch(RunFolder(folder), method or Telling(), Answering(), Split(), main_process)  # type: ignore[arg-type]


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "diagnostics" / NAME).read_text().splitlines()]


def test_a_line_per_evaluation_from_step_0_cut_back_where_a_run_goes_on(tmp_path: Path) -> None:
    first = watch(tmp_path)
    first.begin(0)
    for step in (5, 10, 15):
        first.note(step)
    assert steps(tmp_path) == [0, 5, 10, 15] and first.evaluator.rows == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]
    assert "0.1235" not in first.path.read_text() and "1.1235" in first.path.read_text()
    again = watch(tmp_path)  # killed after step 15, its checkpoint is of step 10
    again.begin(10)
    assert steps(tmp_path) == [0, 5, 10]
    again.note(15)
    assert steps(tmp_path) == [0, 5, 10, 15]
    watch(tmp_path).begin(0)  # trained from its start
    assert steps(tmp_path) == [0]


def test_a_method_that_tells_nothing_and_other_processes_write_nothing(tmp_path: Path) -> None:
    for silent in (watch(tmp_path, Method()), watch(tmp_path, main_process=False)):
        silent.begin(0)
        silent.note(5)
    assert not (tmp_path / "diagnostics").exists()


def gates(root: Path, seed: int, noted: dict[int, float], layer_gate: bool = True) -> Path:
    run = root / write_run(root, "apt", seed=seed, config={"method": {"prefix_length": 3}})
    (run / "diagnostics").mkdir()
    rows = []
    for step, value in noted.items():
        more = {"layer_gate": [value, 1.0]} if layer_gate else {}
        rows.append({"step": step, "gates": {"layers": [[value] * 3, [0.5] * 3], **more}})
    (run / "diagnostics" / NAME).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99')
    return run


def seen(folder: Path) -> Seen:
    return Seen(json.loads((folder / "record.json").read_text()), folder)


def test_means_are_over_the_steps_that_every_seed_noted(tmp_path: Path) -> None:
    runs = [seen(gates(tmp_path, 1, {0: 0.2, 5: 0.4, 10: 0.9})), seen(gates(tmp_path, 2, {0: 0.4, 5: 0.8}))]
    found, tokens, layers = over_training(runs)
    assert found == [0, 5] and tokens.shape == (2, 2, 3)
    np.testing.assert_allclose(tokens[:, 0, 0], [0.3, 0.6])
    np.testing.assert_allclose(layers, [[0.3, 1.0], [0.6, 1.0]])  # type: ignore[arg-type]


@pytest.mark.parametrize("layer_gate", [True, False])
def test_the_command_draws_them(tmp_path: Path, layer_gate: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        gates(tmp_path / "runs", seed, {0: 0.2, 5: 0.4, 10: 0.9}, layer_gate)
    root = f"ledger.root={tmp_path / 'runs'}"
    assert main(["gates_over_training", root, f"out={tmp_path / 'out'}"]) == 0
    assert (tmp_path / "out" / "gates_over_training.png").stat().st_size > 5000
    assert main(["gates", root, f"out={tmp_path / 'out'}"]) == 2  # no gates of the end: said, not drawn
    assert "nothing to draw for gates" in capsys.readouterr().err
