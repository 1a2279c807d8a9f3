"""The authors' released DePT files: read safely, checked, and with the spreads that the specification states."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.dept import DePT
from methods.released import dept_options, dept_state, load_dept_released
from tests.sizes import T5_BASE, tiny

NOTHING: Any = None  # no source: these prompts depend on none

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BENCH_SHARED", REPOSITORY.parent / "shared")) / "data" / "dept_released"


def write(folder: Path, **changes: Tensor | None) -> Path:
    tensors: dict[str, Tensor | None] = {
        "prompt_embeddings": torch.randn(3, 8),
        "prompt_encoder.lora_embedding_A": torch.randn(6, 2),
        "prompt_encoder.lora_embedding_B": torch.randn(2, 8),
    }
    tensors |= changes
    torch.save({k: v for k, v in tensors.items() if v is not None}, folder / "adapter_model.bin")
    return folder


def test_a_file_becomes_a_method(tmp_path: Path) -> None:
    tensors = load_dept_released(write(tmp_path))
    options = dept_options(tensors)
    assert options == {"prompt_length": 3, "rank": 2, "max_source_length": 6}
    method = DePT(tiny(), **options)  # type: ignore[arg-type]
    method.load_state_dict(dept_state(tensors))
    assert torch.equal(method.prompts(NOTHING), tensors["prompt_embeddings"])
    offsets = method.position_offsets(6)
    product = tensors["prompt_encoder.lora_embedding_A"] @ tensors["prompt_encoder.lora_embedding_B"]
    assert offsets is not None
    torch.testing.assert_close(offsets, 8 / 2**0.5 * product)


def test_wrong_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file"):
        load_dept_released(tmp_path)
    with pytest.raises(ValueError, match=r"without .*lora_embedding_A"):
        load_dept_released(write(tmp_path, **{"prompt_encoder.lora_embedding_A": None}))
    with pytest.raises(ValueError, match="shapes"):
        load_dept_released(write(tmp_path, prompt_embeddings=torch.randn(3, 9)))
    (tmp_path / "adapter_model.bin").write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="can be read safely"):
        load_dept_released(tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run by the file",))


def test_a_file_that_would_run_code_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"prompt_embeddings": Harmful()}, tmp_path / "adapter_model.bin")
    with pytest.raises(ValueError, match="read safely"):
        load_dept_released(tmp_path)
    assert "run by the file" not in capsys.readouterr().out


@pytest.mark.skipif(not SHARED.is_dir(), reason="the released files are not here (BENCH_SHARED, or ../shared)")
@pytest.mark.parametrize(
    "task, m, r, prompt_std, offset_std, first_rows, last_rows",
    [
        ("cola", 80, 15, 33.2, 0.53, (1.0, 3.5), (0.16, 0.48)),
        ("sst2", 60, 30, 28.3, 0.22, (0.8, 1.3), (0.03, 0.09)),
    ],
)
def test_released_runs(
    task: str,
    m: int,
    r: int,
    prompt_std: float,
    offset_std: float,
    first_rows: tuple[float, float],
    last_rows: tuple[float, float],
) -> None:
    tensors = load_dept_released(SHARED / task)
    options = dept_options(tensors)
    assert options == {"prompt_length": m, "rank": r, "max_source_length": 256}
    assert DePT.count(options, T5_BASE) == 76_800
    method = DePT(T5_BASE, **options)  # type: ignore[arg-type]
    method.load_state_dict(dept_state(tensors))
    offsets = method.position_offsets(256)
    assert offsets is not None
    assert method.prompts(NOTHING).std().item() == pytest.approx(prompt_std, abs=0.05)
    assert offsets.std().item() == pytest.approx(offset_std, abs=0.005)
    spread = offsets.pow(2).mean(1).sqrt()
    for rows, (low, high) in ((spread[:5], first_rows), (spread[-5:], last_rows)):
        assert low - 0.05 <= rows.min().item() and rows.max().item() <= high + 0.05
