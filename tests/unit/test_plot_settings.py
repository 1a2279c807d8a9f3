"""Figures and the report part runs by what is not tuned: no curve or rule stands beside one of another question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from results.plots import curves, runs
from results.report import payload
from tests.unit.results_fixtures import write_run


def two(root: Path, config: dict[str, Any], **more: Any) -> list[runs.Panel]:
    """Two runs of one method that differ in one thing, and what is drawn together."""
    write_run(root, "pt", seed=1, test=0.6)
    write_run(root, "pt", seed=1, test=0.9, validation=0.9, config=config, **more)
    return runs.panels(runs.read(root, {})[0])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"runner": {"test_rows": 100}}, "test_rows=100"),
        ({"runner": {"precision": "bf16"}}, "precision=bf16"),
        ({"protocol": {"k_shot": 4}}, "k_shot=4"),
        ({"protocol": {"label_words": "words"}}, "label_words=words"),
        ({"fidelity": "author"}, "fidelity=author"),
    ],
)
def test_what_is_not_tuned_has_axes_of_its_own(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    found = two(tmp_path, config)
    assert [len(panel.runs) for panel in found] == [1, 1]
    assert sum(words in panel.title for panel in found) == 1 and len({panel.slug for panel in found}) == 2
    assert sorted(panel.best("pt").mean() or 0 for panel in found) == [0.6, 0.9]  # type: ignore[union-attr]


def test_what_is_tuned_is_drawn_together(tmp_path: Path) -> None:
    (panel,) = two(tmp_path, {"method": {"prompt_length": 60}, "runner": {"max_steps": 80}})
    assert len(panel.by_method()["pt"]) == 2 and panel.protocol == "carved"


@pytest.mark.parametrize("more", [{"metric": "f1"}, {"data": {"source": "package", "sha256": "other"}}])
def test_metrics_and_data_have_axes_of_their_own(tmp_path: Path, more: dict[str, Any]) -> None:
    assert len(two(tmp_path, {"method": {"prompt_length": 60}}, **more)) == 2


def test_a_rule_is_of_the_rows_of_the_axes(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "none", test=0.5, config={"protocol": {"label_words": "words"}})
    write_run(tmp_path, "none", test=0.55)
    write_run(tmp_path, "none", test=0.7, config={"runner": {"test_rows": 10}})
    found = runs.panels(runs.read(tmp_path, {})[0])
    assert [sorted(panel.baselines().values()) for panel in found] == [[0.5, 0.55], [0.7]]
    assert [len(panel.trained) for panel in found] == [1, 0]


def test_two_codes_under_one_name_are_two_methods(tmp_path: Path) -> None:
    for name in ("a", "b"):
        behind = {"data": "x", "contents": {"source": {f"{name}.py": name}}}
        write_run(tmp_path, "own", config={"method": {"path": f"/mine/{name}.py"}}, identity=behind, run_id=name)
    (panel,) = runs.panels(runs.read(tmp_path, {})[0])
    first, second = sorted(panel.by_method())
    assert first.startswith("own (a.py, code ") and second.startswith("own (b.py, code ")


def test_the_report_has_every_run_once_and_its_settings_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "pt", test=0.9, config={"runner": {"test_rows": 100}})
    write_run(tmp_path, "pt", seed=2, test=None, validation=None, status="failed", reason="no memory")
    write_run(tmp_path, "none", test=0.5)
    seen, problems = runs.read(tmp_path, {})
    index = payload.build(seen, problems, title="", made="", ledger="").index
    assert sorted(index["columns"]["id"]) == sorted(run.id for run in seen)
    names = [panel["protocol"] for panel in index["panels"]]
    assert names == ["carved, test_rows=100", "carved, test_rows=none"]
    assert [len(panel["baselines"]) for panel in index["panels"]] == [0, 1]


def test_a_caption_says_where_nothing_was_chosen(tmp_path: Path) -> None:
    for length in (20, 60):
        write_run(tmp_path, "pt", validation=None, test=0.6, config={"method": {"prompt_length": length}})
    (panel,) = runs.panels(runs.read(tmp_path, {})[0])
    assert "of pt none can be chosen: all are drawn" in curves._caption(panel, panel.runs, False)
