"""Backbones whose embeddings are not as wide as their states, or whose layers get tokens without their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.config import BackboneConfig
from backbones.load import load_backbone
from backbones.specimens import save_specimen
from backbones.tuned import Tuned
from methods import load
from runners.promised import Subject, answers, examples, losses, stirred
from runners.promises import broken
from tests.contract import rig

FAMILY = {
    "opt_350m": ("llama", "tiny_llama"),
    "opt": ("llama", "tiny_llama"),
    "electra_small": ("encoder", "tiny_bert"),
    "albert": ("encoder", "tiny_bert"),
}


def subject(folder: Path, specimen: str, method: str, **options: Any) -> Subject:
    family, like = FAMILY[specimen]
    config = BackboneConfig(name=specimen, family=family, path=str(save_specimen(specimen, folder / specimen)))
    chosen = rig.method_config(method, like) | options

    def make(seed: int, stir: bool) -> Tuned:
        head: dict[str, Any] = {"n_labels": 3, "head": "sequence", "seed": 7} if family == "encoder" else {}
        bare = load_backbone(config, cache_root="unused", **head)
        tuned = Tuned(bare, load.build(chosen, bare.facts, None, torch.Generator().manual_seed(seed)))
        return stirred(tuned) if stir else tuned

    return Subject(family, make, load.count(chosen, config.sizes()))


@pytest.mark.parametrize("method", ["lopa", "idpg"])
def test_features_of_opt_350m_are_as_wide_as_its_embeddings(tmp_path: Path, method: str) -> None:
    """Its last state is projected back to 32 from 64, the width of its embeddings."""
    made = subject(tmp_path, "opt_350m", method)
    facts = made.made().backbone.facts
    assert (facts.width, facts.embedding) == (64, 32)
    assert broken(made) == {}


@pytest.mark.parametrize("specimen", ["electra_small", "albert"])
def test_features_of_another_width_are_refused(tmp_path: Path, specimen: str) -> None:
    for method in ("lopa", "idpg"):
        tuned = subject(tmp_path, specimen, method).made()
        with pytest.raises(ValueError, match="have width 64, its embeddings 32"):
            answers(tuned, examples("encoder"))
    assert broken(subject(tmp_path, specimen, "idpg", summary="embeddings"), ("order", "target", "saved")) == {}


@pytest.mark.parametrize("method", ["context_lora", "context_bitfit", "context_ia3", "unipelt"])
def test_tokens_without_their_rows_are_refused(tmp_path: Path, method: str) -> None:
    """OPT's feed-forward reads (B T, d)."""
    tuned = subject(tmp_path, "opt", method).made()
    with pytest.raises(ValueError, match="tokens without their rows"):
        losses(tuned, examples("llama"))


def test_contexts_on_the_layers_that_have_rows(tmp_path: Path) -> None:
    made = subject(tmp_path, "opt", "context_lora", targets=["q", "v"])
    assert broken(made, ("order", "alone", "padding", "target", "loss")) == {}
