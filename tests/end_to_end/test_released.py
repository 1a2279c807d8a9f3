"""The DePT authors' released parameters go through the loader to a score; here in their format at tiny shapes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conf.plan import make_plan
from methods.released import dept_options, load_dept_released
from results.reference import load
from results.released import FILE, compared, missing, sets_of
from runners.survey import hours, survey
from tests.running import ROOT, folder, record, run_here

TINY = ("backbone=tiny_t5", "method=dept", "protocol=dept", "fidelity=author", "task=glue/sst2")
SHAPES = ("method.prompt_length=6", "method.rank=3", "method.max_source_length=256")


def released(path: Path, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    names = {
        "prompt_embeddings": (6, 64),
        "prompt_encoder.lora_embedding_A": (256, 3),
        "prompt_encoder.lora_embedding_B": (3, 64),
    }
    torch.save({name: torch.randn(shape, generator=generator) for name, shape in names.items()}, path)
    return path


def test_a_released_file_is_scored_as_it_is(tmp_path: Path) -> None:
    file = released(tmp_path / "adapter_model.bin")
    outcome = run_here(tmp_path, *TINY, *SHAPES, f"released.path={file}")
    assert outcome.status == "done", outcome.reason
    kept = record(tmp_path)
    assert kept["steps"] == 0 and kept["metrics"]["test"]
    saved = load_file(folder(tmp_path) / "method.safetensors")
    theirs = torch.load(file, weights_only=True)
    assert sorted(tuple(t.shape) for t in saved.values()) == sorted(tuple(t.shape) for t in theirs.values())
    assert any(torch.equal(t, theirs["prompt_embeddings"]) for t in saved.values())
    other = released(tmp_path / "other.bin", 1)
    assert run_here(tmp_path, *TINY, *SHAPES, f"released.path={other}").run_id != outcome.run_id


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = released(tmp_path / "adapter_model.bin")
    outcome = run_here(tmp_path, *TINY, "method.prompt_length=5", "method.rank=3", f"released.path={file}")
    assert outcome.status == "refused" and "prompt_length" in str(outcome.reason)
    missing = run_here(tmp_path, *TINY, *SHAPES, "released.path=/no/such/file")
    assert missing.status == "refused" and "no such file" in str(missing.reason)


def shared() -> Path:
    place = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared")) / "data" / "dept_released"
    if not place.is_dir():
        pytest.skip(f"the released files are not at {place} (set BENCH_SHARED)")
    return place


def test_the_experiment_has_the_seventeen_released_sets(tmp_path: Path) -> None:
    for name in sets_of("dept"):
        (tmp_path / name).mkdir()
        released(tmp_path / name / FILE)
    plan = make_plan(["experiment=dept/released", f"released.root={tmp_path}", "data=fixture"])
    assert plan.problems == [] and len(plan.points) == len(sets_of("dept")) == 17
    for point in plan.points:
        config, wanted = point.config, sets_of("dept")[str(point.config.released.set)]
        assert (config.fidelity, config.protocol.name, config.backbone.name) == ("author", "dept", "t5_base")
        assert config.task.name == wanted["task"] and config.released.path == str(tmp_path / str(config.released.set))
        assert all(config.method[key] == wanted[key] for key in ("prompt_length", "rank", "max_source_length"))
        assert wanted["metric"] in config.task.metrics
    published = {(e.task, e.metric): e.value for e in load("dept").entries if e.table == "A2 checkpoint logs"}  # type: ignore[union-attr]
    assert {wanted["test"] for wanted in sets_of("dept").values()} <= set(published.values())


def test_what_cannot_be_scored_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "cola").mkdir()
    released(tmp_path / "cola" / FILE)
    (tmp_path / "nq").mkdir()
    torch.save({"prompt_embeddings": torch.zeros(6, 64)}, tmp_path / "nq" / FILE)
    assert missing(tmp_path, "cola") == "" and "lora_embedding_A" in missing(tmp_path, "nq")
    plan = make_plan(["experiment=dept/released", f"released.root={tmp_path}", "data=fixture"])
    assert [point.config.released.set for point in plan.points] == ["cola"]
    assert sum("left out" in note for note in plan.notes) == 16
    for root in ("", f"released.root={tmp_path / 'nowhere'}"):
        refused = make_plan(["experiment=dept/released", *([root] if root else []), "data=fixture"])
        assert refused.problems and "released.root" in refused.problems[0]


def test_the_files_at_hand_fit_the_experiment() -> None:
    plan = make_plan(["experiment=dept/released", f"released.root={shared()}", "data=fixture"])
    assert plan.problems == [] and [p.config.released.set for p in plan.points] == ["cola", "sst2"]
    for point in plan.points:
        tensors = load_dept_released(str(point.config.released.path))
        assert all(point.config.method[key] == value for key, value in dept_options(tensors).items())
        theirs = json.loads((Path(str(point.config.released.path)) / "test_results.json").read_text())
        wanted = sets_of("dept")[str(point.config.released.set)]
        assert round(next(v for k, v in theirs.items() if "accuracy" in k or "matthews" in k), 2) == wanted["test"]


def test_scoring_what_was_released_is_not_planned_as_training(tmp_path: Path) -> None:
    (tmp_path / "sst2").mkdir()
    released(tmp_path / "sst2" / FILE)
    plan = make_plan(["experiment=dept/released", f"released.root={tmp_path}", "data=fixture"])
    assert len(plan.points) == 1 and hours(survey(plan)) == 0  # as training: days, and the sweep would ask for yes=true


def test_a_run_says_whether_it_has_the_released_score_and_rows() -> None:
    rows = {"train": 66349, "validation": 1000, "test": 872}
    record = {
        "metrics": {"validation": {"accuracy": 0.965}, "test": {"accuracy": 0.9415137614}},
        "data": {"rows": rows},
    }
    assert compared("dept", "sst2", record)[0]
    record["metrics"]["test"]["accuracy"] = 820 / 872  # one answer less
    same, text = compared("dept", "sst2", record)
    assert not same and "-0.11 points, -1.0 examples" in text
    same, text = compared("dept", "sst2", record | {"data": {"rows": rows | {"train": 67349}}})
    assert not same and "train 67349 rows, released 66349" in text
