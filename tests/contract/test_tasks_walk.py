"""Every task under every protocol and family on its fixture: loads, renders, encodes and scores."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from backbones.tiny_tokenizer import tiny_tokenizer
from tasks import sources
from tasks.answers import answer_of, parse_answer, reference_of
from tasks.config import TaskConfig, metric_of
from tasks.encode import encode
from tasks.kinds import KINDS, kind_of
from tasks.metrics import Prediction, score
from tasks.prepare import PREPARE
from tasks.task import load_task
from tasks.templates import unsupported
from tests.tasks_rig import FAMILIES, FIXTURE, PROTOCOLS, ROOT, TASKS, protocol_of, task_of

WHOLE = [(t, p, f) for t in TASKS for p in PROTOCOLS for f in FAMILIES]
FAST = [(t, "dept", f) for i, t in enumerate(TASKS) for f in (FAMILIES[i % 3],)]


def gold(task: TaskConfig, example: Any, family: str) -> Any:
    """What a perfect model answers, by way of the same functions as a real one."""
    if family == "encoder":
        if task.kind == "tagging":
            return list(example.tags)
        return example.label if task.kind == "regression" else answer_of(task, example, example.label)
    wrong_referent = task.kind == "classification" and not example.choices and not example.label
    return parse_answer(task, example, "nobody" if wrong_referent else example.references[0])


def walk(name: str, protocol_name: str, family: str, cache: Path) -> None:
    task, protocol = task_of(name), protocol_of(protocol_name)
    why = unsupported(task, protocol, family)
    if why:
        pytest.skip(why)
    data = load_task(task, protocol, FIXTURE, family=family, fidelity="author", cache_root=cache)
    assert data.report["fixture"] and data.report["report_split"] in data.splits
    if "train" in task.rows and protocol.split != "whole":
        assert "train" in data.splits and data.report["select_split"] in data.splits
    tokenizer = tiny_tokenizer("bert" if family == "encoder" else family)
    names = kind_of(task).tag_names(task)
    for role, examples in data.splits.items():
        kept = list(examples)
        assert len({e.id for e in kept}) == len(kept) > 0, role
        encoded = encode(kept, tokenizer, family=family, max_source_length=128, tag_names=names)
        assert all(e.segments if family == "encoder" else e.source and e.target for e in encoded)
        assert all(e.target in e.choices for e in kept if e.choices)
    reported = list(data.splits[data.report["report_split"]])
    answers = [Prediction(e.id, gold(task, e, family), reference_of(task, e), e.group) for e in reported]
    scores = score(task, protocol, answers)
    assert list(scores) == [*task.metrics, *kind_of(task).also]
    assert scores[metric_of(task, protocol, "report")] == pytest.approx(1.0)
    assert metric_of(task, protocol, "select") in scores


@pytest.mark.parametrize(("name", "protocol", "family"), FAST)
def test_every_task_walks(name: str, protocol: str, family: str, tmp_path: Path) -> None:
    walk(name, protocol, family if family in task_of(name).families else "llama", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "protocol", "family"), WHOLE)
def test_every_combination_walks(name: str, protocol: str, family: str, tmp_path: Path) -> None:
    walk(name, protocol, family, tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_task_yamls_are_whole(name: str) -> None:
    values = yaml.safe_load((ROOT / f"conf/task/{name}.yaml").read_text(encoding="utf-8"))
    task = task_of(name)
    assert set(values) <= {f.name for f in fields(TaskConfig)}
    assert task.name == name and task.kind in KINDS and task.about and task.url and task.licence and task.rows
    assert task.hub or task.package
    if task.hub:
        assert task.revision_note or len(str(task.hub["revision"])) == 40
    for digest in (task.package or {}).get("members", {}).values():
        assert len(digest) == 64
    assert set(task.prepare.values()) <= set(PREPARE)
    assert {*task.select_metric.values(), *task.report_metric.values(), *task.mean_of} <= set(task.metrics)
    assert set(task.select_metric) | set(task.report_metric) <= {"default", *PROTOCOLS}
    assert task.split_rule in ("small", "large", "official") and set(task.families) <= set(FAMILIES)
    assert sources.fixture_file(task).stat().st_size < 20_000


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_yamls_are_whole(name: str) -> None:
    protocol = protocol_of(name)
    assert protocol.name == name and protocol.about
    assert set(protocol.steps) == (set() if protocol.split == "whole" else {"small", "large"})
    switches = {"qa_references", "regression_rounding", "repeat_option", "invalid_output"}
    assert set(protocol.defaults_by_fidelity) == {"author", "corrected"}
    for fidelity in ("author", "corrected"):
        filled = protocol_of(name, fidelity)
        assert switches <= set(protocol.defaults_by_fidelity[fidelity])
        assert all(getattr(filled, s) is not None for s in switches)
        assert all(getattr(filled, key) in allowed for key, allowed in protocol.choices.items())
    assert protocol_of("dept", "author").repeat_option and not protocol_of("dept", "corrected").repeat_option
