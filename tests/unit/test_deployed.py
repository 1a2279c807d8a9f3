"""What is carried beside the backbone to answer with: folded where it folds, stored where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from backbones.load import load_backbone
from backbones.tuned import Tuned
from conf.compose import compose, typed
from runners.assemble import build_method
from runners.data import encode_splits, load_data
from runners.deployed import deployed_parameters

CASES: dict[str, tuple[str, list[str], Callable[[Any, Any], int]]] = {
    "pt": ("tiny_t5", ["method.prompt_length=7"], lambda f, n: 7 * f.width),
    "residual_pt": ("tiny_t5", ["method.prompt_length=7"], lambda f, n: 7 * f.width),
    "dept": ("tiny_t5", ["method.prompt_length=7", "method.max_source_length=40"], lambda f, n: (7 + 40) * f.width),
    "accept": (
        "tiny_llama",
        ["method.prompt_length=60", "method.max_source_length=50"],
        lambda f, n: (60 + 50) * f.width,
    ),
    "adept": ("tiny_llama", ["method.prompt_length=7"], lambda f, n: (7 + f.vocab) * f.width),
    "prefix": ("tiny_bert", ["method.prefix_length=7"], lambda f, n: 2 * f.layers * 7 * f.kv_heads * f.head_dim),
    "prefix/mlp": ("tiny_t5", [], lambda f, n: 2 * (f.layers + f.decoder_layers) * n.prefix_length * f.width),
    "apt": ("tiny_bert", ["method.prefix_length=7"], lambda f, n: sum(p.numel() for p in n.parameters())),
    "idpg": ("tiny_t5", [], lambda f, n: sum(p.numel() for p in (*n.parameters(), *n.buffers()))),
    "lora": ("tiny_t5", ["method.rank=2"], lambda f, n: 2 * 2 * f.width * (f.layers + 2 * f.decoder_layers) * 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_that_are_carried(name: str, tmp_path: Any) -> None:
    family, given, wanted = CASES[name]
    words = ["task=demo/movie_reviews", "data=fixture", "runner=smoke", "runner.max_source_length=40"]
    config = typed(compose([*words, f"backbone={family}", f"method={name}", *given, f"cache.root={tmp_path}"]))
    head = {} if config.backbone.traits.writes else {"n_labels": 2, "head": "sequence"}
    backbone = load_backbone(config.backbone, dtype=torch.float32, device="cpu", cache_root=tmp_path, **head)
    method = build_method(config, backbone)
    tuned = Tuned(backbone, method)
    rows = encode_splits(config, load_data(config), backbone.tokenizer)["test"].encoded
    assert deployed_parameters(tuned, backbone.collate([rows[0]])) == wanted(backbone.facts, method)
