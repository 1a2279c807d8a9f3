"""What every method promises on every family; new YAMLs in conf/method/ are picked up by themselves."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from methods import load
from tests.contract import rig

PAIRS = rig.pairs()
on_every_pair = pytest.mark.parametrize(("method", "name"), PAIRS, ids=[f"{m}-{b}" for m, b in PAIRS])


def test_the_five_methods_run_on_all_families_and_refusals_say_why() -> None:
    for method in ("pt", "dept", "adept", "accept", "prefix", "apt"):
        assert {b for m, b in PAIRS if m == method} == set(rig.BACKBONES)
    refused = {(m, b): rig.refusals(m, b) for m in rig.METHODS for b in rig.BACKBONES if (m, b) not in PAIRS}
    assert ("head_only", "tiny_t5") in refused
    assert all(len(sentence) > 30 for said in refused.values() for sentence in said)


@on_every_pair
def test_only_the_methods_tensors_get_gradients_and_the_count_is_the_formula(method: str, name: str) -> None:
    whole = rig.tuned(method, name)
    losses, counts = whole.losses(rig.batch(whole, rig.examples(name)))
    assert losses.shape == counts.shape == (4,) and bool((losses > 0).all())
    losses.sum().backward()
    trained = rig.parameters(whole)
    without = [n for n, p in trained.items() if p.grad is None or not p.grad.abs().sum() > 0]
    # T5's and BERT's tables have weights that this batch does not reach when everything is trained
    assert not without or method == "full", without
    ids = {id(p) for p in trained.values()}
    assert [n for n, p in whole.named_parameters() if p.grad is not None and id(p) not in ids] == []
    assert whole.counts()["method"] == load.count(rig.method_config(method, name), rig.backbone_config(name).sizes())


@on_every_pair
def test_saved_and_loaded_gives_equal_predictions(method: str, name: str) -> None:
    first = rig.tuned(method, name)
    saved = from_bytes(to_bytes(first.state()))
    second = rig.tuned(method, name, seed=4, stir=False)
    second.load_state(saved)
    examples = rig.examples(name)
    assert torch.equal(rig.answers(first, examples), rig.answers(second, examples))


@on_every_pair
def test_padding_and_batch_order_change_nothing(method: str, name: str) -> None:
    whole, examples = rig.tuned(method, name), rig.examples(name)
    together = rig.answers(whole, examples)
    order = [2, 0, 3, 1]
    assert rig.close(rig.answers(whole, [examples[i] for i in order]), together[order])
    for index, example in enumerate(examples):
        alone = rig.answers(whole, [example])[0]
        assert rig.close(alone, together[index][: len(alone)])
    losses = whole.losses(rig.batch(whole, examples))[0]
    alone = torch.cat([whole.losses(rig.batch(whole, [e]))[0] for e in examples])
    assert rig.close(losses, alone)


@on_every_pair
def test_same_seed_same_tensors_other_seed_others(method: str, name: str) -> None:
    first, same, other = (rig.tuned(method, name, seed=s, stir=False).state() for s in (3, 3, 4))
    assert all(torch.equal(first[n], same[n]) for n in first)
    fixed = ("head_only", "full", "bitfit", "ia3", "context_bitfit", "context_ia3")  # nothing of these is drawn
    assert method in fixed or any(not torch.equal(first[n], other[n]) for n in first)


@on_every_pair
def test_bfloat16_stays_finite_and_near(method: str, name: str) -> None:
    if method == "full":
        with pytest.raises(ValueError, match="precision=fp32"):
            rig.tuned(method, name, dtype=torch.bfloat16)
        return
    whole, exact = rig.tuned(method, name, dtype=torch.bfloat16), rig.tuned(method, name)
    examples = rig.examples(name)
    losses, _ = whole.losses(rig.batch(whole, examples))
    losses.sum().backward()
    assert losses.dtype == torch.float32 and bool(losses.isfinite().all())
    for tensor_name, parameter in rig.parameters(whole).items():
        assert parameter.dtype == torch.float32, tensor_name
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), tensor_name
    wanted = exact.losses(rig.batch(exact, examples))[0]
    assert torch.allclose(losses, wanted, rtol=0.1, atol=0.5)


@on_every_pair
def test_gradient_checkpointing_changes_nothing(method: str, name: str) -> None:
    whole, examples = rig.tuned(method, name), rig.examples(name)
    rig.no_dropout(whole)
    whole.train()
    results = []
    for on in (False, True):
        whole.backbone.gradient_checkpointing(on)
        whole.zero_grad()
        losses, _ = whole.losses(rig.batch(whole, examples))
        losses.sum().backward()
        results.append(
            (losses.detach(), {n: p.grad.clone() for n, p in rig.parameters(whole).items() if p.grad is not None})
        )
    (plain, gradients), (losses, again) = results
    assert rig.close(plain, losses)
    assert set(gradients) == set(again)
    assert all(rig.close(gradients[n], again[n], 1e-3) for n in gradients)


TEXT = [(m, b) for m, b in PAIRS if b != "tiny_bert"]


@pytest.mark.parametrize(("method", "name"), TEXT, ids=[f"{m}-{b}" for m, b in TEXT])
def test_ranking_is_the_loss_of_each_candidate_and_decoding_is_greedy(method: str, name: str) -> None:
    whole, examples = rig.tuned(method, name), rig.examples(name)
    scores = rig.answers(whole, examples)
    for row, example in zip(scores, examples, strict=True):
        for score, choice in zip(row, example.choices, strict=False):
            oracle = rig.Encoded("x", example.source, choice)
            assert rig.close(-whole.losses(rig.batch(whole, [oracle]))[0][0].detach(), score)
        assert bool(row[len(example.choices) :].isneginf().all())
    made = whole.generate(rig.batch(whole, examples), 5)
    for example, tokens in zip(examples, made, strict=True):
        assert whole.generate(rig.batch(whole, [example]), 5)[0] == tokens
        step = tokens[-1] if tokens else rig.EOS[name]
        others = [[*tokens[:-1], other] for other in range(0, 1000, 211) if other != step]
        oracle = rig.Encoded("x", example.source, [], [[*tokens[:-1], step], *others])
        assert int(whole.rank(rig.batch(whole, [oracle], candidates=True))[0].argmax()) == 0
