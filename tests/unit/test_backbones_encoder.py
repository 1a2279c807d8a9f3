"""Encoders: heads, poolers, positions, RoBERTa and DeBERTa beside BERT; T5 v1.1 beside v1.0."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backbones.base import NoPrompt
from backbones.config import BackboneConfig
from backbones.load import load_backbone
from backbones.tuned import Tuned
from methods.apt import APT
from methods.prefix import Prefix
from methods.pt import PT
from methods.source import Prompts, Source
from tasks.encode import IGNORE, Encoded
from tests.contract import rig

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert"},
    "roberta": {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1},
    "deberta": {
        "model_type": "deberta", "relative_attention": True, "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": False, "type_vocab_size": 0,
    },
}  # fmt: skip


def encoder(kind: str, head: str = "sequence", n_labels: int = 3) -> Any:
    base = vars(rig.backbone_config("tiny_bert"))
    attention = "eager" if kind == "deberta" else "sdpa"
    shape = {"initializer_range": 0.1, **ARCHITECTURES[kind]}
    config = BackboneConfig(**{**base, "architecture": shape, "attention": attention})
    return load_backbone(config, cache_root="unused", n_labels=n_labels, head=head, seed=7)


def one(index: int, texts: list[list[int]], label: Any = None, tags: list[int] | None = None) -> Encoded:
    return Encoded(str(index), label=label, segments=texts, token_types=[[0] * len(t) for t in texts], tags=tags or [])


SHORT, LONG = [4, 20, 21, 5], [4, 30, 31, 32, 33, 34, 5]


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("method", [None, PT, Prefix, APT])
def test_heads_learn_and_padding_changes_nothing(kind: str, method: Any) -> None:
    cases = {
        "sequence": [one(0, [SHORT], 2), one(1, [LONG], 0)],
        "choice": [one(0, [SHORT, LONG], 1), one(1, [LONG, SHORT], 0)],
        "token": [
            one(0, [SHORT], tags=[IGNORE, 1, 2, IGNORE]),
            one(1, [LONG], tags=[IGNORE, 0, IGNORE, 1, 1, 2, IGNORE]),
        ],
    }
    for head, examples in cases.items():
        backbone = encoder(kind, head)
        whole = Tuned(backbone, method(backbone.facts) if method else None).eval()
        losses, counts = whole.losses(rig.batch(whole, examples))
        alone = torch.cat([whole.losses(rig.batch(whole, [e]))[0] for e in examples])
        assert rig.close(losses, alone)
        assert counts.tolist() == ([2, 4] if head == "token" else [1, 1])
        losses.sum().backward()
        assert backbone.head.output.weight.grad.abs().sum() > 0
        assert all(p.grad is None for p in backbone.model.parameters())
        shape = (
            whole.tag(rig.batch(whole, examples)).shape
            if head == "token"
            else whole.classify(rig.batch(whole, examples)).shape
        )
        assert tuple(shape) == {"sequence": (2, 3), "choice": (2, 2), "token": (2, 7, 3)}[head]


def test_regression_is_squared_error() -> None:
    whole = Tuned(encoder("bert", n_labels=1)).eval()
    batch = rig.batch(whole, [one(0, [SHORT], 2.5)])
    said = whole.classify(batch)
    assert said.shape == (1, 1)
    assert torch.allclose(whole.losses(batch)[0], (said[:, 0] - 2.5) ** 2)


def test_prompts_keep_the_first_token_first() -> None:
    """A prompt of no effect (its slots hidden) leaves the text's states as they are, [CLS] first."""

    class Hidden(NoPrompt):
        prompt_slots = 3

        def prompts(self, source: Source) -> Prompts:
            return Prompts(torch.ones(1, 3, 64), mask=torch.zeros(1, 3, dtype=torch.long))

    for kind in ("bert", "roberta"):
        backbone = encoder(kind).eval()
        batch = backbone.collate([one(0, [SHORT], 0), one(1, [LONG], 0)])
        real = batch.source_mask.bool()
        plain = backbone.hidden(batch, NoPrompt())[real]
        backbone.config.position_shift = False
        assert rig.close(backbone.hidden(batch, Hidden())[real], plain)
        backbone.config.position_shift = True
        assert not rig.close(backbone.hidden(batch, Hidden())[real], plain)


def test_deep_prefix_shifts_positions_only_when_asked() -> None:
    for kind in ("bert", "roberta"):
        said = []
        for shift in (False, True):
            backbone = encoder(kind)
            prefix = Prefix(
                backbone.facts, prefix_length=3, position_shift=shift, generator=torch.Generator().manual_seed(0)
            )
            whole = Tuned(backbone, prefix).eval()
            said.append(whole.classify(rig.batch(whole, [one(0, [LONG], 0)])))
        assert not torch.allclose(*said, atol=1e-5)
    long = [4, *([9] * 509), 5]
    with pytest.raises(ValueError, match="at most 509"):
        whole.classify(rig.batch(whole, [one(0, [long], 0)]))


def test_deberta_with_a_prefix_of_no_weight_is_the_stock_attention() -> None:
    plain = encoder("deberta").eval()
    batch = plain.collate([one(0, [SHORT], 0), one(1, [LONG], 0)])
    wanted = plain.hidden(batch, NoPrompt())
    other = encoder("deberta")
    prefix = Prefix(other.facts, prefix_length=2)

    def nothing(stack: str, layer: int, count: int, summary: Any = None) -> Any:
        none = torch.zeros(count, 0, 4, 16)
        return none, none

    prefix.prefix = nothing  # type: ignore[method-assign]
    whole = Tuned(other, prefix).eval()
    real = batch.source_mask.bool()
    assert rig.close(whole.backbone.hidden(batch, NoPrompt())[real], wanted[real], 1e-5)


def test_poolers_are_frozen_and_deberta_brings_its_own() -> None:
    assert encoder("bert").head.pooler is None and encoder("deberta").head.pooler is not None
    assert {n for n, _ in encoder("bert").head.named_parameters()} == {"output.weight", "output.bias"}
    first, second = encoder("roberta"), encoder("roberta")
    assert torch.equal(first.model.pooler.dense.weight, second.model.pooler.dense.weight)
    assert torch.equal(first.head.output.weight, second.head.output.weight)


def test_wrong_questions_are_refused() -> None:
    whole = Tuned(encoder("bert", "token"))
    with pytest.raises(TypeError, match="sequence or choice head"):
        whole.classify(rig.batch(whole, [one(0, [SHORT], tags=[0, 0, 0, 0])]))
    with pytest.raises(TypeError, match="cannot rank"):
        whole.rank(rig.batch(whole, [one(0, [SHORT], tags=[0, 0, 0, 0])]))
    with pytest.raises(ValueError, match="n_labels"):
        encoder("bert", "sequence", 0)


def test_t5_v1_1_has_a_head_of_its_own_that_is_not_scaled() -> None:
    base = vars(rig.backbone_config("tiny_t5"))
    shape = {**base["architecture"], "tie_word_embeddings": False, "feed_forward_proj": "gated-gelu"}
    backbone = load_backbone(BackboneConfig(**{**base, "architecture": shape}), cache_root="unused").eval()
    assert backbone.model.lm_head.weight is not backbone.model.shared.weight
    states = torch.randn(3, 64)
    assert torch.equal(backbone.head_logits(states), backbone.model.lm_head(states))
    whole = Tuned(backbone)
    example = rig.examples("tiny_t5")[0]
    batch = rig.batch(whole, [example])
    stock = backbone.model(input_ids=batch.source, attention_mask=batch.source_mask, labels=batch.target).loss
    losses, counts = whole.losses(batch)
    assert torch.allclose(losses[0] / counts[0], stock, atol=1e-5)
