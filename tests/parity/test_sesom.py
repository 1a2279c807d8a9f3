"""SESoM: its weights against plain loops in float64, its answers against those of its sources alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from backbones.tuned import Tuned
from methods.pt import PT
from methods.sesom import SESoM
from methods.source import Prompts, Source
from runners.packed_inputs import PackedInputs
from runners.promised import PROMISES, answers, examples, heard, losses
from runners.promises import broken
from tasks.encode import Encoded
from tests.contract import rig
from tests.contract.test_promises import subject
from tests.parity.test_related import B, D, M, doubled, same, softmax, text, times
from tests.sizes import BERT_BASE, T5_BASE, tiny

LANGUAGE = pytest.mark.parametrize("name", ["tiny_t5", "tiny_llama"])


def norm(values: list, weight: list, bias: list) -> list:
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-5)
    return [(v - mean) / spread * w + b for v, w, b in zip(values, weight, bias, strict=True)]


def silu(values: list) -> list:
    return [v / (1 + math.exp(-v)) for v in values]


def test_weights() -> None:
    given = torch.randn(3, M, D, generator=torch.Generator().manual_seed(4))
    method = SESoM(tiny(), prompt_length=M, bottleneck=5, temperature=1.5, sources=given)
    p, (source, rows, _) = doubled(method), text()
    logits = torch.randn(B, 3, 11, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    made = []
    for b, tokens in enumerate(rows):
        x = [max(t[j] for t in tokens) for j in range(D)]
        q = norm(times(p["w2"], silu(times(p["w1"], x))), p["query_weight"], p["query_bias"])
        keys = [norm(times(p["w4"], silu(times(p["w3"], one))), p["key_weight"], p["key_bias"])
                for one in logits[b].tolist()]  # fmt: skip
        made.append(softmax([sum(k * v for k, v in zip(key, q, strict=True)) / 1.5 for key in keys]))
    same(method.weights(source, logits), made)
    assert SESoM(tiny(), prompt_length=M, bottleneck=9, sources=given).temperature == 3.0
    with pytest.raises(ValueError, match="has 11 rows"):
        method.weights(source, logits[..., :7])


def ensemble(name: str, sources: int) -> tuple[Tuned, list[Tuned]]:
    """SESoM over some prompts, and prompt tuning with each of them."""
    bare = rig.backbone(name)
    prompts = torch.randn(sources, 4, bare.facts.width, generator=torch.Generator().manual_seed(8))
    method = SESoM(bare.facts, prompt_length=4, bottleneck=6, sources=prompts, generator=torch.Generator())
    singles = [Tuned(bare, PT(bare.facts, prompt_length=4, init_rows=rows)).eval() for rows in prompts]
    return Tuned(bare, method).eval(), singles


def logits(tuned: Tuned, row: Encoded) -> Tensor:
    """(L, V) in front of the row's target tokens."""
    with heard(tuned.backbone) as (_, told):
        losses(tuned, [row])
    return torch.cat(told)


@LANGUAGE
def test_answers_are_the_sources_weighted_logits(name: str) -> None:
    whole, singles = ensemble(name, 3)
    rows = examples(whole.backbone.facts.family)
    scores = answers(whole, rows)
    seen = []
    for row, found in zip(rows, scores, strict=True):
        source = whole.backbone.source(whole.backbone.collate([row]))
        for choice, score in zip(row.choices, found, strict=False):
            given = Encoded("x", row.source, choice)
            each = torch.stack([logits(one, given) for one in singles])  # (K, L, V)
            with torch.no_grad():
                w = whole.method.weights(source, each[:, 0][None])[0]
            wanted = sum(w[k] * each[k] for k in range(3))
            total = wanted.log_softmax(-1)[torch.arange(len(choice)), torch.tensor(choice)].sum()
            assert rig.close(total, score)
            assert rig.close(losses(whole, [given])[0].detach(), -total)
            seen.append(w)
    assert not rig.close(seen[0], seen[-1])  # by example
    assert not any(rig.close(scores, answers(one, rows)) for one in singles)


@LANGUAGE
def test_one_source_is_that_run_to_the_bit(name: str) -> None:
    whole, (single,) = ensemble(name, 1)
    rows = examples(whole.backbone.facts.family)
    assert torch.equal(answers(whole, rows), answers(single, rows))
    assert torch.equal(losses(whole, rows), losses(single, rows))
    batch = whole.backbone.collate(rows)
    assert whole.generate(batch, 5) == single.generate(batch, 5)


@LANGUAGE
def test_promises(name: str) -> None:
    assert broken(subject("sesom", name), tuple(PROMISES)) == {}


def test_half_precision_weights_in_full() -> None:
    whole = rig.tuned("sesom", "tiny_t5", dtype=torch.bfloat16)
    rows = examples("t5")
    losses(whole, rows).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in whole.method.parameters())


def test_where_it_is_refused() -> None:
    assert any("head of its own" in said for said in SESoM.check({}, BERT_BASE))
    assert SESoM.check({}, T5_BASE) == [] and SESoM.count({}, T5_BASE) == 2_113_792
    whole, _ = ensemble("tiny_t5", 2)
    with pytest.raises(ValueError, match="it runs alone"):
        PackedInputs([whole.method])
    with pytest.raises(ValueError, match="no language-model head"):
        Tuned(rig.backbone("tiny_bert"), whole.method)


def test_a_method_that_says_one_thing_and_does_another() -> None:
    class Unsaid(PT):
        """Several prompts without `answers_together`."""

        def prompts(self, source: Source) -> Any:
            assert self.prompt is not None
            return Prompts(self.prompt[None].expand(2, -1, -1), torch.zeros(len(source), 2).long())

    class Unweighted(SESoM):
        def weights(self, source: Source, logits: Tensor) -> Tensor:
            return torch.ones(len(source))

    bare = rig.backbone("tiny_t5")
    with pytest.raises(ValueError, match="answers_together=False"):
        losses(Tuned(bare, Unsaid(bare.facts, prompt_length=3)), examples("t5"))
    method = Unweighted(bare.facts, prompt_length=3, sources=torch.zeros(2, 3, bare.facts.width))
    with pytest.raises(ValueError, match=r"\(4, 2\) is wanted"):
        losses(Tuned(bare, method), examples("t5"))
