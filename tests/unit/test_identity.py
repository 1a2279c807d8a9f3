"""An id moves with what can change a score, and with nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from copy import deepcopy
from pathlib import Path

import pytest

from conf.compose import compose, name_run, typed, typed_record
from conf.resolve import ConfigError, get, put
from results import content
from results.content import WORTH_REMEMBERING, file_sha256
from results.identity import COSMETIC, GONE, LATER, choices_that_count, flatten, is_cosmetic, run_id, without_gone

BASE = ("method=dept", "task=superglue/boolq", "backbone=tiny_llama", "data=fixture")


def id_of(*more: str) -> str:
    resolved = compose([*BASE, *more])
    return name_run(resolved, typed(resolved))[0]


UNSEEN = (
    "ledger.root=/elsewhere", "cache.root=/elsewhere", "force=true", "retry_failed=true", "plan=true", "fail_fast=true",
    "yes=true", "tracking=wandb", "runner.micro_batch=4", "runner.threads=3", "runner.device=cpu",
    "runner.log_every=1", "runner.checkpoint_every=7", "runner.checkpoint_seconds=3", "seed=42",
    "data.hub_probe_seconds=9", "method.prompt_length=40 method.rank=45",
)  # fmt: skip
COUNTED = (
    "seed=43", "fidelity=author", "method.lr.prompt=0.123", "method.rank=17", "runner.precision=bf16",
    "runner.max_steps=7", "runner.batch_size=5", "runner.eval_every=11", "runner.train_rows=12",
    "runner.test_rows=12", "runner.backbone_dropout=true", "runner.optimizer.name=adafactor", "runner.clip_norm=0.5",
    "protocol=dept", "task=superglue/cb", "backbone=tiny_t5", "method=pt", "runner.schedule.name=linear",
    "runner.group_by_length=false", "backbone.attention=eager", "backbone.revision=abc",
)  # fmt: skip


@pytest.mark.parametrize("override", UNSEEN)
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


def test_every_leaf_of_a_configuration_counts_or_stands_on_the_list() -> None:
    """Whatever its value: nothing is left out because it is some default."""
    resolved = compose(BASE)
    before = run_id(resolved, "data")
    for key, value in flatten(resolved):
        changed = deepcopy(resolved)
        if get(changed, key) != value:
            continue  # a name with a dot in it (a file of a package)
        put(changed, key, [7] if isinstance(value, list) else "another")
        if key in ("ledger.root", "method.path", "backbone.path", "method.init_from", "released.path", "method.target"):
            continue  # what lies there counts: tests below
        assert (run_id(changed, "data") == before) == is_cosmetic(key), key


def test_an_option_that_came_later_counts_only_off_its_neutral_value(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = compose(BASE)
    before = run_id(resolved, "data")
    monkeypatch.setitem(LATER, "method.depth", (3, "for this test"))
    for value, same in ((3, True), (3.0, True), (4, False), ("3", False)):
        later = deepcopy(resolved)
        later["method"]["depth"] = value
        assert (run_id(later, "data") == before) is same
    unlisted = deepcopy(resolved)
    unlisted["method"]["width"] = 3
    assert run_id(unlisted, "data") != before


def test_an_option_that_is_gone_counts_as_the_value_that_it_repeated() -> None:
    """A record of before has it, today's configuration has not: one run, one id, and the record can still be loaded."""
    resolved = compose([*BASE, "protocol=dept"])
    old = deepcopy(resolved)
    old["protocol"]["steps"]["official"] = 300_000
    assert "official" not in resolved["protocol"]["steps"] and without_gone(old) == resolved
    assert run_id(old, "data") == run_id(resolved, "data")
    assert typed_record(old) == typed(resolved)
    with pytest.raises(ConfigError, match="official"):
        typed(old)
    odd = deepcopy(old)
    odd["protocol"]["steps"]["official"] = 7  # whoever chose it then has a run of another name
    assert run_id(odd, "data") != run_id(old, "data")
    assert "protocol.steps.official" not in choices_that_count(compose([*BASE, "protocol=lighteval"]))


def test_no_choice_brings_back_an_option_that_is_gone() -> None:
    for override in ("protocol.steps.official=5", "+protocol.steps.official=5", "protocol.steps={official:5}"):
        with pytest.raises(ConfigError, match="official"):
            compose([*BASE, override])


def test_null_is_no_choice() -> None:
    resolved = compose(BASE)
    later = deepcopy(resolved)
    later["runner"]["later"] = None
    assert run_id(later, "data") == run_id(resolved, "data")


def test_false_is_not_zero_and_one_is_one_point_zero() -> None:
    one, other = choices_that_count({"a": 0, "b": 1.0, "c": [1.0]}), choices_that_count({"a": False, "b": 1, "c": [1]})
    assert json.dumps(one) == '{"a": 0, "b": 1, "c": [1]}' and json.dumps(other) == '{"a": false, "b": 1, "c": [1]}'


def test_versions_and_the_data_revision_count() -> None:
    resolved = compose(BASE)
    before = run_id(resolved, "data")
    assert run_id(resolved, "other data") != before
    for group in ("method", "task", "protocol", "runner", "backbone"):
        newer = deepcopy(resolved)
        newer[group]["version"] = 2
        assert run_id(newer, "data") != before


def test_every_entry_of_the_lists_has_a_reason() -> None:
    assert all(COSMETIC.values()) and all(reason for _, reason in (*LATER.values(), *GONE.values()))


def _own(path: Path) -> str:
    return run_id({"method": {"name": "own", "path": str(path)}}, "data")


def test_a_method_outside_the_tree_is_named_by_its_tokens(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("A = 1\n")
    before = _own(path)
    path.write_text('"""Mine."""\n\nA    =  1  # one\n')
    assert _own(path) == before
    path.write_text("A = 2\n")
    assert _own(path) != before
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "other_name.py").write_text("A = 1\n")
    assert _own(tmp_path / "moved" / "other_name.py") == before


@pytest.mark.parametrize(
    "head", ["import helper", "from helper import B", "def f():\n    import helper", "X = open('helper.csv').name"]
)
def test_what_a_method_of_ones_own_imports_counts(tmp_path: Path, head: str) -> None:
    seen = []
    for number, text in enumerate(("B = 1\n", "B = 2\n")):
        folder = tmp_path / str(number)  # modules are read once per process: another folder each
        folder.mkdir()
        (folder / "mine.py").write_text(f"{head}\n")
        (folder / "helper.py").write_text("import deeper\n")
        for name in ("deeper.py", "helper.csv"):
            (folder / name).write_text(text)
        seen.append(_own(folder / "mine.py"))
    assert seen[0] != seen[1]


def _model(folder: Path, **files: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in {"config.json": "{}", "model.safetensors": "weights", **files}.items():
        (folder / name).write_text(text)
    return run_id({"method": {}, "backbone": {"name": folder.name, "path": str(folder)}}, "data")


def test_a_local_backbone_counts_by_its_content_not_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "B").mkdir()
    one = _model(tmp_path / "A" / "checkpoint-500")
    assert _model(tmp_path / "B" / "checkpoint-500") == one
    assert _model(tmp_path / "elsewhere") == one
    changes = {"config.json": '{"a": 1}', "model.safetensors": "weightz", "tokenizer.json": "{}", "model-2.bin": "x"}
    ids = [_model(tmp_path / f"changed-{name}", **{name: text}) for name, text in changes.items()]
    assert len({one, *ids}) == 1 + len(changes)
    assert _model(tmp_path / "A" / "checkpoint-500", **{"README.md": "words", "optimizer.pt": "state"}) == one
    with pytest.raises(ValueError, match=r"no config\.json there"):
        run_id({"method": {}, "backbone": {"path": str(tmp_path / "nothing")}}, "data")


def test_the_hash_of_a_large_file_is_remembered_but_never_beyond_a_change(tmp_path: Path) -> None:
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"a" * WORTH_REMEMBERING)
    first = file_sha256(path, cache)
    (note,) = (cache / "hashes").iterdir()
    seen = path.stat()
    path.write_bytes(b"b" * WORTH_REMEMBERING)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # same size, same time
    second = file_sha256(path, cache)
    assert second == hashlib.sha256(path.read_bytes()).hexdigest() != first
    content._hashed.cache_clear()
    note.write_text("{torn")
    for left in (cache / "hashes").iterdir():
        left.write_text("{torn")
    assert file_sha256(path, cache) == second


def test_a_run_that_starts_from_another_is_named_by_its_tensors(tmp_path: Path) -> None:
    def id_from(name: str, tensors: str) -> str:
        folder = tmp_path / name / "0123456789abcdef"
        folder.mkdir(parents=True)
        (folder / "method.safetensors").write_text(tensors)
        config = {"method": {"init_from": "0123"}, "ledger": {"root": str(tmp_path / name)}}
        return run_id(config, "data")

    assert id_from("a", "tensors") == id_from("b", "tensors") != id_from("c", "other tensors")
    with pytest.raises(ValueError, match="runs begin so"):
        run_id({"method": {"init_from": "77"}, "ledger": {"root": str(tmp_path)}}, "data")


def test_runs_that_are_mixed_count_by_their_tensors_names_and_order(tmp_path: Path) -> None:
    def id_with(folder: str, sources: dict[str, str], **tensors: str) -> str:
        for run, text in tensors.items():
            place = tmp_path / folder / (run + "0" * 15)
            place.mkdir(parents=True, exist_ok=True)
            (place / "method.safetensors").write_text(text)
        return run_id({"method": {"sources": sources}, "ledger": {"root": str(tmp_path / folder)}}, "data")

    first = id_with("one", {"mnli": "a", "squad": "b"}, a="tensors", b="others")
    assert first == id_with("two", {"mnli": "c", "squad": "d"}, c="tensors", d="others")  # whatever the runs are called
    assert first != id_with("three", {"mnli": "a", "squad": "b"}, a="tensors", b="made anew")
    assert first != id_with("one", {"squad": "b", "mnli": "a"})
    assert first != id_with("one", {"mnli": "a", "qnli": "b"})
    with pytest.raises(ValueError, match=r"method\.sources\.squad=77"):
        id_with("one", {"mnli": "a", "squad": "77"})


def test_the_id_is_the_same_from_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = id_of()
    monkeypatch.chdir(tmp_path)
    assert id_of() == before
