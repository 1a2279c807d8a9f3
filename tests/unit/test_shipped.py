"""The shipped methods, tasks and protocols give the numbers that are stored, or their version says that they do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from results.source_code import shipped_sources
from scripts.ship import NUMBERS, sources
from scripts.stored_numbers import differs, entries, verdict

STORED: dict[str, Any] = json.loads(NUMBERS.read_text(encoding="utf-8"))
MEASURES = dict(entries())
QUICK = ("on tiny_llama", "optimizer", "task glue/rte", "task ner/conll2003 under carved", "task superglue/multirc")


def check(name: str) -> None:
    now = MEASURES[name]()
    if now is None:
        assert name not in STORED, f"{name} is refused now; python scripts/ship.py takes it out"
        return
    assert name in STORED, f"{name} is new; python scripts/ship.py stores its numbers"
    assert verdict(STORED[name], now) is None, f"{name}: {verdict(STORED[name], now)}"


@pytest.mark.parametrize("name", [name for name in MEASURES if any(part in name for part in QUICK)])
def test_numbers_are_the_stored_ones(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MEASURES if not any(part in name for part in QUICK)])
def test_all_numbers_are_the_stored_ones(name: str) -> None:
    check(name)


def test_nothing_is_stored_that_is_not_measured() -> None:
    assert set(STORED) <= set(MEASURES)


def test_the_list_of_shipped_files_is_of_this_tree() -> None:
    now = {name: entry["tokens"] for name, entry in sources().items()}
    changed = sorted(name for name in {*now, *shipped_sources()} if now.get(name) != shipped_sources().get(name))
    assert not changed, f"{', '.join(changed)}: python scripts/ship.py takes them as shipped if no number has moved"


def test_a_number_may_move_with_a_version_only() -> None:
    stored = {"versions": {"method": 1, "task": 1}, "values": {"losses": [1.0, 2.0]}}
    moved = {"versions": {"method": 1, "task": 1}, "values": {"losses": [1.0, 2.001]}}
    within = {"versions": {"method": 1, "task": 1}, "values": {"losses": [1.0, 2.000001]}}
    raised = moved | {"versions": {"method": 2, "task": 1}}
    assert "raise the version" in (verdict(stored, moved) or "")
    assert verdict(stored, raised) is None and verdict(stored, within) is None and verdict(None, moved) is None
    assert differs([1.0], [1.0, 2.0]) and differs({"a": 1}, {"b": 1}) and differs("x", "y")
