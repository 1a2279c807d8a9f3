"""Prompts that depend on the input: right for every row of every batch, on every family, alone and packed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.tuned import Tuned
from methods.base import Body, InputMethod, prompt_parameter
from methods.prefix import Prefix
from methods.pt import PT
from methods.source import Prompts, Source
from runners.packed_inputs import PackedInputs
from tests.contract import rig

EVERY = pytest.mark.parametrize("name", rig.BACKBONES)


class Pooled(InputMethod):
    """P + tanh(summary W), one prompt for each example; `how` says which summary."""

    def __init__(self, facts: Any, how: str = "mean", m: int = 3, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.how, self.prompt_slots = how, m
        self.prompt = prompt_parameter(m, facts.width, None, generator)
        self.weight = nn.Parameter(torch.randn(facts.width, facts.width, generator=generator) * 0.3)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"prompt": list(self.parameters())}

    def prompts(self, source: Source) -> Tensor | Prompts:
        summary = source.features() if self.how == "features" else getattr(source, self.how)()
        each = self.prompt + torch.tanh(summary.float() @ self.weight)[:, None]
        if self.how != "maximum":
            return each
        order = torch.arange(len(source)).flip(0)  # the general form: K prompts in another order than the rows
        return Prompts(each[order], order)


class Two(InputMethod):
    """A composite: a deep prefix, and a prompt that depends on the input."""

    def __init__(self, facts: Any) -> None:
        super().__init__()
        self.deep, self.front = Prefix(facts, prefix_length=2, prefix_dropout=0.0), Pooled(facts, "features")

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"prefix": list(self.deep.parameters()), "prompt": list(self.front.parameters())}

    def attach(self, body: Body) -> InputMethod | None:
        self.deep.attach(body)
        return self.front.attach(body)


def whole(name: str, how: str) -> Tuned:
    bare = rig.backbone(name)
    return Tuned(bare, Two(bare.facts) if how == "two" else Pooled(bare.facts, how)).eval()


HOW = ("mean", "maximum", "features", "two")


@EVERY
@pytest.mark.parametrize("how", HOW)
def test_every_row_has_its_own_prompt_alone_and_in_any_batch(name: str, how: str) -> None:
    tuned, examples = whole(name, how), rig.examples(name)
    together = rig.answers(tuned, examples)
    for index, example in enumerate(examples):
        alone = rig.answers(tuned, [example])[0]
        assert rig.close(alone, together[index][: len(alone)])
    losses = tuned.losses(rig.batch(tuned, examples))[0]
    assert rig.close(losses, torch.cat([tuned.losses(rig.batch(tuned, [e]))[0] for e in examples]))
    if name != "tiny_bert":
        made = tuned.generate(rig.batch(tuned, examples), 4)
        assert made == [tuned.generate(rig.batch(tuned, [e]), 4)[0] for e in examples]


@EVERY
@pytest.mark.parametrize("how", HOW)
def test_checkpointing_and_gradients_agree(name: str, how: str) -> None:
    tuned, examples = whole(name, how), rig.examples(name)
    tuned.train()
    rig.no_dropout(tuned)
    seen = []
    for on in (False, True):
        tuned.backbone.gradient_checkpointing(on)
        tuned.zero_grad()
        tuned.losses(rig.batch(tuned, examples))[0].sum().backward()
        seen.append({n: p.grad.clone() for n, p in rig.parameters(tuned).items() if p.grad is not None})
    assert seen[0].keys() == seen[1].keys() and len(seen[0]) >= 2
    assert all(rig.close(seen[0][n], seen[1][n], 1e-3) and seen[0][n].any() for n in seen[0])


class Nosy(Pooled):
    """Keeps everything it was shown."""

    seen: list[Source]

    def prompts(self, source: Source) -> Tensor | Prompts:
        self.seen.append(source)
        return super().prompts(source)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_a_method_is_never_shown_an_answer(name: str) -> None:
    bare = rig.backbone(name)
    method = Nosy(bare.facts)
    method.seen = []
    tuned, examples = Tuned(bare, method).eval(), rig.examples(name)
    other = [replace(e, target=[77, *e.target], choices=[[88, *c] for c in e.choices]) for e in examples]
    for rows in (examples, other):
        tuned.losses(rig.batch(tuned, rows))
        rig.answers(tuned, rows)
        tuned.generate(rig.batch(tuned, rows), 2)
    first = method.seen[0]
    for source in method.seen:
        for part in fields(Source):
            one, two = getattr(first, part.name), getattr(source, part.name)
            assert torch.equal(one, two) if isinstance(one, Tensor) else part.name == "reader" or one is two
    real = first.ids[first.mask.bool()].tolist()
    assert real == [i for e in examples for i in e.source]


@EVERY
def test_features_are_the_frozen_models_own_and_made_once(name: str) -> None:
    tuned, examples = whole(name, "two"), rig.examples(name)
    calls: list[int] = []
    stack = tuned.backbone.model
    inner = {"tiny_llama": lambda: stack.model, "tiny_t5": lambda: stack.encoder, "tiny_bert": lambda: stack}[name]()
    inner.register_forward_hook(lambda *_: calls.append(1))
    batch = rig.batch(tuned, examples)
    first = tuned.backbone.source(batch).features()
    assert len(calls) == 4
    again = tuned.backbone.source(rig.batch(tuned, examples[::-1])).features().flip(0)
    assert len(calls) == 4 and torch.equal(first, again)
    bare = rig.backbone(name).eval()  # without any method
    for row, example in enumerate(examples):
        ids = torch.tensor([example.segments[0] if name == "tiny_bert" else example.source])
        types = {"token_type_ids": torch.tensor(example.token_types)} if name == "tiny_bert" else {}
        model = {"tiny_llama": lambda m: m.model, "tiny_t5": lambda m: m.encoder, "tiny_bert": lambda m: m}[name](
            bare.model
        )
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids), **types).last_hidden_state[0]
        wanted = {"tiny_llama": states[-1], "tiny_t5": states.mean(0), "tiny_bert": states[0]}[name]
        assert rig.close(first[row], wanted, 1e-5)


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_packed_equals_alone_whatever_the_prompts_depend_on(name: str) -> None:
    bare = rig.backbone(name)
    facts = bare.facts
    members: list[InputMethod] = [Pooled(facts, "mean", 2), PT(facts, prompt_length=5), Pooled(facts, "features", 3, 1)]
    packed = PackedInputs(members)
    tuned, examples = Tuned(bare, packed).eval(), rig.examples(name)
    packed.use([0, 1, 2], [4, 4, 4])
    together = rig.answers(tuned, examples * 3).split(4)
    losses = tuned.losses(rig.batch(tuned, examples * 3))[0].split(4)
    for index, method in enumerate(members):
        alone = Tuned(bare, method).eval()
        assert rig.close(together[index], rig.answers(alone, examples))
        assert rig.close(losses[index], alone.losses(rig.batch(alone, examples))[0])


@pytest.mark.parametrize("shape", [(4, 3, 64), (2, 64), (3, 8)])
def test_prompts_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    class Odd(Pooled):
        def prompts(self, source: Source) -> Tensor:
            return torch.zeros(shape)

    bare = rig.backbone("tiny_t5")
    with pytest.raises(ValueError, match=r"prompts"):
        tuned = Tuned(bare, Odd(bare.facts))
        tuned.losses(rig.batch(tuned, rig.examples("tiny_t5")[:3]))
