"""Points of the papers' experiments run for real, on fixture rows and tiny models, and stand in their tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conf.plan import make_plan
from results.records import read_runs
from results.tables.build import build
from results.tables.layout import load
from results.tables.model import Table
from results.tables.state import Options
from runners.job import run_point
from scripts import evaluate

pytestmark = pytest.mark.slow
SHORT = ("data=fixture", "runner.max_steps=2", "runner.eval_every=2", "runner.device=cpu", "runner.precision=fp32")


def run_points(root: Path, experiment: str, *more: str) -> list[str]:
    """Run an experiment's grid, cut by `more`, and give the ids of its runs."""
    torch.set_num_threads(1)
    where = (f"ledger.root={root / 'runs'}", f"cache.root={root / 'cache'}")
    plan = make_plan([f"experiment={experiment}", *SHORT, *where, *more])
    assert plan.problems == []
    outcomes = [run_point(point.resolved, sweep=True) for point in plan.points]
    assert [outcome.status for outcome in outcomes] == ["done"] * len(plan.points), outcomes
    return [point.run_id for point in plan.points]


def table(root: Path, paper: str, name: str, backbone: str) -> Table:
    layout = load(paper, name).narrowed({"backbone": backbone})
    return build(layout, read_runs(root / "runs"), Options(fixtures=True, significance=False))


@pytest.mark.parametrize(
    ("experiment", "name", "backbone", "task", "column", "rows"),
    [
        ("adept/parts", "parts", "tiny_t5", "glue/rte", "RTE", 3),
        ("dept/rates", "rates", "tiny_t5", "superglue/cb", "CB", 3),
        ("accept/parts", "parts", "tiny_t5", "glue/mrpc", "MRPC", 3),
        ("apt/gates", "gates", "tiny_bert", "superglue/rte", "RTE", 6),
    ],
)
def test_rows_of_an_ablation(
    experiment: str, name: str, backbone: str, task: str, column: str, rows: int, tmp_path: Path
) -> None:
    ids = run_points(tmp_path, experiment, f"task={task}", f"backbone={backbone}", "seed=42")
    assert len(ids) == rows
    found = table(tmp_path, experiment.partition("/")[0], name, backbone)
    cells = [row.cells[column] for row in found.rows]
    assert len(cells) == rows and sorted(run for cell in cells for run in cell.run_ids) == sorted(ids)
    assert all(cell.value is not None and cell.n == 1 for cell in cells)


def test_prompts_vote_and_are_scored_elsewhere(tmp_path: Path) -> None:
    """Lester's tables 1 and 3: five prompts together, and a prompt of SQuAD on a set that has no training rows."""
    run_points(tmp_path, "lester/table3", "task=superglue/copa", "backbone=tiny_t5", "seed=42,43,44")
    rows = {row.label: row.cells["COPA"] for row in table(tmp_path, "pt", "3", "tiny_t5").rows}
    mean, best, vote = (rows[f"PT, {what}"] for what in ("mean over prompts", "best of 5", "vote of 5"))
    assert mean.value is not None and best.value == max(mean.scores) and vote.value is not None
    assert mean.n == best.n == vote.n == 3
    (run,) = run_points(tmp_path, "lester/transfer", "method=pt", "task=mrqa/squad", "backbone=tiny_t5", "seed=42")
    words = [f"run={run}", f"ledger.root={tmp_path / 'runs'}", f"cache.root={tmp_path / 'cache'}"]
    assert (
        evaluate.main([*words, "task=mrqa/bioasq,glue/rte,mrqa/drop"]) == 2
    )  # glue/rte is no question; the others are
    cells = {row.label: row.cells for row in table(tmp_path, "pt", "transfer", "tiny_t5").rows}["PT"]
    assert all(cells[key].value is not None for key in ("SQuAD", "BioASQ", "DROP"))
    assert cells["RACE"].text == "missing" and cells["RACE"].command.endswith(f"run={run} task=mrqa/race")
