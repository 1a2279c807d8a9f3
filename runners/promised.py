"""What a method's promises are asked with: a method on one family, rows for it, its answers, how far two are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.batch import Batch
from backbones.joint import Joint
from backbones.tuned import Tuned
from methods import load
from tasks.encode import Encoded
from tasks.families import family as traits_of

WITHIN = 2e-4  # of rounding; the tiny models' scores are of the order of ten
EOS = {"llama": 1, "t5": 1, "encoder": 5}


@dataclass
class Subject:
    """A method on one family.

    Attributes:
        family: `t5`, `llama` or `encoder`.
        make: builds it from a seed on a fresh tiny backbone, off its start if asked (some tensors start at zero, where
            nothing can be seen of them).
        count: its parameters by its own formula.
    """

    family: str
    make: Callable[[int, bool], Tuned]
    count: int

    def made(self, seed: int = 3, stir: bool = True) -> Tuned:
        return self.make(seed, stir).eval()


Promise = Callable[[Subject], str | None]
PROMISES: dict[str, tuple[str, Promise]] = {}


def promise(name: str, text: str) -> Callable[[Promise], Promise]:
    """Register a property under the name that a failure is told by."""

    def keep(function: Promise) -> Promise:
        PROMISES[name] = (text, function)
        return function

    return keep


def stirred(tuned: Tuned, scale: float = 0.2) -> Tuned:
    """Every trained tensor moved off its start."""
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in parameters(tuned).values():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter))
    return tuned


def some_sources(config: Mapping[str, Any], facts: Any) -> Tensor | None:
    """Two made-up source prompts for a method that mixes those of finished runs; None for others."""
    if not load.method_class(config.get("target"), config.get("path")).takes_sources:  # type: ignore[attr-defined]
        return None
    generator = torch.Generator().manual_seed(17)
    return torch.randn(2, int(load.options_of(config)["prompt_length"]), facts.at_input().width, generator=generator)


def parameters(tuned: Tuned) -> dict[str, nn.Parameter]:
    """Everything that is trained, by name."""
    return {name: p for group in tuned.trainable().values() for name, p in group.items()}


def examples(family: str, lengths: tuple[int, ...] = (9, 3, 14, 6), seed: int = 5) -> list[Encoded]:
    """Examples of given source lengths; candidates differ in length and share their first tokens."""
    generator = torch.Generator().manual_seed(seed)
    eos, found = EOS[family], []
    for index, length in enumerate(lengths):
        ids = torch.randint(10, 1000, (length,), generator=generator).tolist()
        if not traits_of(family).writes:
            half = length // 2
            row = [4, *ids[:half], eos, *ids[half:], eos]
            types = [0] * (half + 2) + [1] * (length - half + 1)
            found.append(Encoded(str(index), label=index % 3, segments=[row], token_types=[types]))
            continue
        choices = [[40, eos], [40, 41, eos], [40, 42, 43, 44, eos], [50, eos]]
        source = [*ids, eos] if traits_of(family).closes_source else [2, *ids]
        found.append(Encoded(str(index), source, choices[index % 4], choices[: 4 - index % 2], index % 3))
    return found


def answers(tuned: Tuned, chosen: list[Encoded], change: Callable[[Batch], Batch] | None = None) -> Tensor:
    """Candidate scores or class logits; `change` is done to the batch before it is asked."""
    encoder = not tuned.backbone.facts.traits.writes
    batch = tuned.backbone.collate(chosen, candidates=not encoder)
    batch = batch if change is None else change(batch)
    return (tuned.classify(batch) if encoder else tuned.rank(batch)).clone()


def losses(tuned: Tuned, chosen: list[Encoded]) -> Tensor:
    return tuned.losses(tuned.backbone.collate(chosen))[0]


def far(one: Tensor, other: Tensor, within: float = WITHIN) -> float | None:
    """The largest difference where it is more than rounding, else None."""
    if one.shape != other.shape or not torch.equal(one.isinf(), other.isinf()):
        return float("inf")
    difference = (one - other).masked_fill(one.isinf(), 0.0).abs()
    return float(difference.max()) if bool((difference > within + 1e-4 * other.abs().nan_to_num()).any()) else None


def said(difference: float | None, what: str) -> str | None:
    return None if difference is None else f"{what} (by {difference:.3g})"


@contextmanager
def only_method(tuned: Tuned) -> Iterator[None]:
    """An encoder's head is brought to one state, so that differences are the method's."""
    head = tuned.backbone.head
    with torch.no_grad():
        for parameter in head.parameters() if head is not None else ():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    yield


@contextmanager
def heard(backbone: Backbone) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """The states that an answer's tokens are predicted from, (N, d) each, and the logits that they give, (N, V)."""
    states: list[Tensor] = []
    logits: list[Tensor] = []
    plain = backbone.joint

    def joint(*given: Any) -> Joint:
        made = plain(*given)
        own = made.logits

        def told(read: Tensor) -> Tensor:
            found = own(read)
            states.append(read.detach().clone())
            logits.append(found.detach())
            return found

        made.logits = told  # type: ignore[assignment, method-assign]
        return made

    backbone.joint = joint  # type: ignore[assignment, method-assign]
    try:
        yield states, logits
    finally:
        backbone.joint = plain  # type: ignore[method-assign]
