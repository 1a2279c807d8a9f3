"""The DePT authors' released parameters go through the loader to a score; here in their format at tiny shapes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conf.compose import compose, typed
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
    assert missing.status == "refused" and "adapter_model.bin" in str(missing.reason)


@pytest.mark.parametrize("task", ["cola", "sst2"])
def test_the_experiments_have_the_released_shapes(task: str) -> None:
    from methods.released import dept_options, load_dept_released

    shared = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared"))
    file = shared / "data" / "dept_released" / task / "adapter_model.bin"
    config = typed(compose([f"experiment=dept/released_{task}", "data=fixture"]))
    assert config.fidelity == "author" and config.protocol.name == "dept" and config.backbone.name == "t5_base"
    if not file.exists():
        pytest.skip(f"the released files are not at {shared} (set BENCH_SHARED)")
    wanted = dept_options(load_dept_released(file))
    assert {key: config.method[key] for key in wanted} == wanted
