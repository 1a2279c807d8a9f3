"""What the papers measured beyond their main tables: every point of a sweep has a cell, every row has points."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.plan import make_plan
from results.records import Run, matches
from results.tables.layout import load

PAIRS = [
    ("lester/lengths", "pt", "lengths"), ("lester/initialisations", "pt", "initialisations"),
    ("lester/sizes", "pt", "sizes"), ("dept/lengths", "dept", "lengths"), ("dept/rates", "dept", "rates"),
    ("dept/sizes", "dept", "sizes"), ("adept/parts", "adept", "parts"), ("adept/t5_3b", "adept", "t5_3b"),
    ("accept/parts", "accept", "parts"), ("accept/mrqa", "accept", "mrqa"), ("apt/gates", "apt", "gates"),
    ("apt/low_resource", "apt", "low_resource"), ("lester/pretraining", "pt", "pretraining"),
    ("dept/llama2", "dept", "llama2"), ("dept/sources", "dept", "sources"), ("adept/mrqa", "adept", "mrqa"),
    ("accept/few_shot", "accept", "few_shot"), ("accept/sizes", "accept", "sizes"),
    ("accept/codewords", "accept", "codewords"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "paper", "table"),
    [pair if pair[0] == "adept/parts" else pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
)
def test_every_point_has_one_cell_and_every_row_has_points(experiment: str, paper: str, table: str) -> None:
    plan = make_plan([f"experiment={experiment}", "data=fixture"])
    assert plan.problems == [] and plan.points
    layout = load(paper, table)
    runs = [
        Run(
            {
                "run_id": point.run_id, "status": "done", "config": point.resolved, "seed": point.config.seed,
                "method": point.config.method["name"], "task": point.config.task.name,
                "backbone": point.config.backbone.name, "protocol": point.config.protocol.name,
            },
            Path(),
        )
        for point in plan.points
    ]  # fmt: skip
    rows = {row.label: 0 for row in layout.rows}
    for run in runs:
        held = [
            row.label
            for row in layout.rows
            if row.where and any(matches(run, {**layout.where, **row.taking(c)}) for c in layout.columns if c.where)
        ]
        assert len(held) == 1, (run.get("method"), run.get("task"), held)
        rows[held[0]] += 1
    later = {
        row.label for row in layout.rows if not row.where or "*" in row.where.values()
    }  # from runs of a user's own
    assert all(count for label, count in rows.items() if label not in later), rows


def test_transfer_stands_beside_its_published_cells() -> None:
    from results.records import Reading
    from results.tables.build import Options, build

    table = build(load("pt", "transfer"), Reading(Path()), Options())
    published = {row.label: [cell.published for cell in row.cells.values()] for row in table.rows}
    assert published["PT"] == [94.8, 66.8, 79.1, 60.7, 88.8, 67.7, 67.1]
    assert published["Model tuning"] == [94.9, 54.3, 77.9, 59.8, 88.4, 68.9, 68.9]
    two = build(load("pt", "paraphrase"), Reading(Path()), Options())
    assert [cell.published for cell in two.rows[1].cells.values()] == [76.3, 84.3, 75.4, 69.7]
