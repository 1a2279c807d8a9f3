"""Runs of the demos stand in their tables; transfer stands beside what is published of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conf.compose import compose, typed
from conf.schema import Config
from results.records import Run, matches
from results.tables.layout import load
from scripts.demo import ALL, DEMO, NER


def as_run(point: Mapping[str, Any], config: Config, run_id: str) -> Run:
    """A finished run of a resolved point, as the tables read it."""
    named = {"method": config.method["name"], "task": config.task.name, "backbone": config.backbone.name}
    named |= {"protocol": config.protocol.name, "seed": config.seed}
    return Run({"run_id": run_id, "status": "done", "config": point, **named}, Path())


@pytest.mark.parametrize(
    ("experiment", "table", "chosen"), [("demo", "methods", ALL), ("demo", "main", DEMO), ("demo_ner", "main", NER)]
)
def test_every_run_of_a_demo_stands_in_its_table(experiment: str, table: str, chosen: dict[str, list[str]]) -> None:
    """A table that asks for other settings than its experiment has would say `missing` of runs that are there."""
    layout, found = load(experiment, table), set()
    for overrides in chosen.values():
        point = compose([f"experiment={experiment}", *overrides])
        run = as_run(point, typed(point), "0")
        held = [
            row.label for row in layout.rows if matches(run, {**layout.where, **row.where}) and row.value == "score"
        ]
        assert len(held) == 1, (overrides, held)
        found |= set(held)
    assert found == {row.label for row in layout.rows if row.value == "score"}


def test_transfer_stands_beside_its_published_cells() -> None:
    from results.records import Reading
    from results.tables.build import build
    from results.tables.state import Options

    table = build(load("pt", "transfer"), Reading(Path()), Options())
    published = {row.label: [cell.published for cell in row.cells.values()] for row in table.rows}
    assert published["PT"] == [94.8, 66.8, 79.1, 60.7, 88.8, 67.7, 67.1]
    assert published["Model tuning"] == [94.9, 54.3, 77.9, 59.8, 88.4, 68.9, 68.9]
    two = build(load("pt", "paraphrase"), Reading(Path()), Options())
    assert [cell.published for cell in two.rows[1].cells.values()] == [76.3, 84.3, 75.4, 69.7]
