"""An id moves with what can change a score, and with nothing else."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from conf.compose import compose, name_run, typed
from conf.resolve import defaults_for
from results.identity import choices_that_count, run_id

BASE = ("method=dept", "task=superglue/boolq", "backbone=tiny_llama", "data=fixture")


def id_of(*more: str) -> str:
    resolved = compose([*BASE, *more])
    return name_run(resolved, typed(resolved))[0]


COSMETIC = (
    "ledger.root=/elsewhere", "cache.root=/elsewhere", "force=true", "retry_failed=true", "plan=true", "fail_fast=true",
    "yes=true", "tracking=wandb", "runner.micro_batch=4", "runner.threads=3", "runner.device=cpu",
    "runner.log_every=1", "runner.checkpoint_every=7", "runner.checkpoint_seconds=3", "seed=42",
    "data.hub_probe_seconds=9", "backbone.path=/elsewhere", "method.prompt_length=40 method.rank=45",
)  # fmt: skip
COUNTED = (
    "seed=43", "fidelity=author", "method.lr.prompt=0.123", "method.rank=17", "runner.precision=bf16",
    "runner.max_steps=7", "runner.batch_size=5", "runner.eval_every=11", "runner.train_rows=12",
    "runner.test_rows=12", "runner.backbone_dropout=true", "runner.optimizer.name=adafactor", "runner.clip_norm=0.5",
    "protocol=dept", "task=superglue/cb", "backbone=tiny_t5", "method=pt", "runner.schedule.name=linear",
    "runner.group_by_length=false", "backbone.attention=eager", "backbone.revision=abc",
)  # fmt: skip


@pytest.mark.parametrize("override", COSMETIC)
def test_cosmetic_choices_keep_the_id(override: str) -> None:
    if override.startswith("method."):
        assert id_of("method=dept/m40_r45") == id_of(*override.split())
    else:
        assert id_of(override) == id_of()


@pytest.mark.parametrize("override", COUNTED)
def test_what_can_move_a_score_moves_the_id(override: str) -> None:
    assert id_of(override) != id_of()


def test_all_counted_choices_give_different_ids() -> None:
    ids = [id_of(override) for override in COUNTED]
    assert len(set(ids)) == len(ids)


def test_an_option_added_with_a_default_keeps_old_ids() -> None:
    resolved = compose(BASE)
    defaults = defaults_for(resolved)
    before = run_id(resolved, defaults, "data")
    later, later_defaults = deepcopy(resolved), deepcopy(defaults)
    for tree in (later, later_defaults):
        tree["method"]["a_later_option"] = {"depth": 3}
        tree["runner"]["another"] = None
    assert run_id(later, later_defaults, "data") == before
    later["method"]["a_later_option"]["depth"] = 4
    assert run_id(later, later_defaults, "data") != before


def test_false_is_not_zero_and_one_is_one_point_zero() -> None:
    defaults = {"runner": {"a": 0, "b": 1.0}}
    assert choices_that_count({"runner": {"a": False, "b": 1}}, defaults) == {"runner.a": False}


def test_versions_and_the_data_revision_count() -> None:
    resolved = compose(BASE)
    defaults = defaults_for(resolved)
    before = run_id(resolved, defaults, "data")
    assert run_id(resolved, defaults, "other data") != before
    for group in ("method", "task", "protocol"):
        newer, newer_defaults = deepcopy(resolved), deepcopy(defaults)
        newer[group]["version"] = newer_defaults[group]["version"] = 2
        assert run_id(newer, newer_defaults, "data") != before


def test_a_method_outside_the_tree_is_named_by_its_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("A = 1\n")
    config = {"method": {"name": "mine", "path": str(path)}}
    before = run_id(config, {}, "data")
    path.write_text("A = 2\n")
    assert run_id(config, {}, "data") != before


def test_the_id_is_the_same_from_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = id_of()
    monkeypatch.chdir(tmp_path)
    assert id_of() == before
