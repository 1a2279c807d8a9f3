"""What a model gives may be no number (weights or activations past their precision): no answer is taken from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones.specimens import save_specimen
from tests.running import record, run_here

TABLE = {"llama": "model.embed_tokens.weight", "t5": "shared.weight", "bert": "embeddings.word_embeddings.weight"}
HUB = {"llama": "hub_llama", "t5": "hub_t5", "bert": "hub_encoder"}


def broken(folder: Path, specimen: str, word: str) -> Path:
    """A checkpoint whose table has infinity at a word that some rows of the fixtures have."""
    from transformers import AutoTokenizer

    save_specimen(specimen, folder)
    tensors = load_file(folder / "model.safetensors")
    tokens = AutoTokenizer.from_pretrained(folder)(word, add_special_tokens=False)["input_ids"]
    tensors[TABLE[specimen]][tokens[-1]] = torch.inf
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("specimen", "task", "word", "more"),
    [
        ("llama", "superglue/boolq", " metal", ()),
        ("llama", "mrqa/squad", " built", ("protocol.scoring=generate",)),
        ("bert", "superglue/boolq", " metal", ()),
        ("bert", "glue/stsb", " the", ()),
        ("bert", "ner/conll2003", " in", ()),
    ],
)
def test_rows_without_a_number_are_not_scored(
    specimen: str, task: str, word: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    folder = broken(tmp_path / "model", specimen, word)
    method = "head_only" if specimen == "bert" else "none"
    chosen = [f"backbone={HUB[specimen]}", f"backbone.path={folder}", f"task={task}", f"method={method}"]
    outcome = run_here(tmp_path, *chosen, "runner.max_source_length=64", *more)
    assert outcome.status == "failed" and "gives no number (NaN or infinity)" in str(outcome.reason)
    assert record(tmp_path)["metrics"] == {}
