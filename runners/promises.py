"""What every method promises, each as a function that says in a sentence where it is broken.

A method is built, put on tiny backbones of all families and looked at from outside: what it is given is changed, and
its answers are compared. scripts/check_method.py prints them for one file, the contract tests hold them for every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.joint import Joint
from backbones.tuned import Tuned
from methods import load
from methods.base import InputMethod
from methods.pt import PT
from methods.source import Source
from runners.packed_inputs import PackedInputs
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
    return torch.randn(2, int(load.options_of(config)["prompt_length"]), facts.width, generator=generator)


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


def answers(tuned: Tuned, chosen: list[Encoded], fill: int | None = None) -> Tensor:
    """Candidate scores or class logits; `fill` writes another token under the padding."""
    encoder = not tuned.backbone.facts.traits.writes
    batch = tuned.backbone.collate(chosen, candidates=not encoder)
    if fill is not None:
        batch.source = batch.source.masked_fill(batch.source_mask == 0, fill)
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


@promise("acts", "trained tensors change the answers")
def acts(subject: Subject) -> str | None:
    rows = examples(subject.family)
    with only_method(one := subject.made(stir=False)), only_method(other := subject.made()):
        same = far(answers(one, rows), answers(other, rows)) is None
    alone = not traits_of(subject.family).writes and not subject.count  # the head alone
    return "answers stay the same when every tensor of the method is moved" if same and not alone else None


@contextmanager
def only_method(tuned: Tuned) -> Iterator[None]:
    """An encoder's head is brought to one state, so that differences are the method's."""
    head = tuned.backbone.head
    with torch.no_grad():
        for parameter in head.parameters() if head is not None else ():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    yield


@promise("count", "the formula counts the tensors, and every tensor stands in one group")
def counted(subject: Subject) -> str | None:
    tuned = subject.made()
    real, method = tuned.counts()["method"], tuned.method
    grouped = [id(p) for tensors in method.groups().values() for p in tensors]
    outside = [n for n, p in method.named_parameters() if p.requires_grad and id(p) not in grouped]
    if len(set(grouped)) != len(grouped) or outside:
        return f"tensors outside every group, or in two: {outside or 'in two'}"
    return None if real == subject.count else f"`count` says {subject.count:,}, the tensors hold {real:,}"


@promise("seed", "one seed gives one set of tensors, whatever the global random state")
def seeded(subject: Subject) -> str | None:
    states = []
    for other in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(other)
            states.append(subject.made(stir=False).state())
    wrong = [n for n in states[0] if not torch.equal(states[0][n], states[1][n])]
    return f"{', '.join(wrong)} drawn from the global random state, not from `generator`" if wrong else None


@promise("order", "a row's answer is the same wherever it stands in a batch")
def order(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family, (7, 7, 7, 7))
    together, turn = answers(tuned, rows), [2, 0, 3, 1]
    turned = answers(tuned, [rows[i] for i in turn])
    lost = far(losses(tuned, rows)[turn].detach(), losses(tuned, [rows[i] for i in turn]).detach())
    return said(far(turned, together[turn]) or lost, "a row's answer depends on its place in the batch")


@promise("alone", "a row's answer is the same alone and in any batch")
def alone(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family, (7, 7, 7, 7))
    together, lost = answers(tuned, rows), losses(tuned, rows).detach()
    for index, row in enumerate(rows):
        own = answers(tuned, [row])[0]
        found = far(own, together[index][: len(own)]) or far(losses(tuned, [row]).detach(), lost[index : index + 1])
        if found is not None:
            return said(found, "a row's answer depends on the other rows of its batch")
    return None


@promise("padding", "padding changes nothing: neither how much there is nor what stands in it")
def padding(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family)
    together = answers(tuned, rows)
    other = far(answers(tuned, rows, fill=77), together)
    if other is not None:
        return said(other, "an answer changes with the token that stands in the padding")
    for index, row in enumerate(rows):
        own = answers(tuned, [row])[0]
        if (found := far(own, together[index][: len(own)])) is not None:
            return said(found, "an answer changes with the length of the longest row")
    return None


@promise("target", "changing the target changes nothing that is read before it")
def target(subject: Subject) -> str | None:
    if not traits_of(subject.family).writes:
        rows = examples(subject.family)
        other = [replace(e, label=(e.label or 0) + 1 if (e.label or 0) < 2 else 0) for e in rows]  # type: ignore[arg-type]
        tuned = subject.made()
        return said(far(answers(tuned, other), answers(tuned, rows)), "class scores change with the label")
    tuned, rows = subject.made(), examples(subject.family)
    seen = []
    for answer in ([40, 41, 42, 1], [40, 41, 90, 91]):
        with heard(tuned.backbone) as (states, _):
            losses(tuned, [replace(e, target=answer) for e in rows])
        seen.append(torch.cat(states).view(len(rows), len(answer), -1)[:, :3])
    if (found := far(seen[0], seen[1], 1e-3)) is not None:
        return said(found, "states in front of a target token change with that token")
    scores = answers(tuned, rows)[:, 0]
    fewer = answers(tuned, [replace(e, choices=e.choices[:1]) for e in rows])[:, 0]
    return said(far(fewer, scores), "a candidate's score changes with the other candidates")


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


@promise("loss", "ranking scores are the losses of the candidates, and decoding is greedy")
def ranked(subject: Subject) -> str | None:
    if not traits_of(subject.family).writes:
        return None
    tuned, rows = subject.made(), examples(subject.family)
    scores = answers(tuned, rows)
    for row, example in zip(scores, rows, strict=True):
        own = torch.cat([losses(tuned, [replace(example, target=c)]).detach() for c in example.choices])
        if (found := far(-own, row[: len(own)])) is not None:
            return said(found, "a candidate's score is not the loss of that candidate as a target")
    made = tuned.generate(tuned.backbone.collate(rows), 4)
    single = [tuned.generate(tuned.backbone.collate([e]), 4)[0] for e in rows]
    if made != single:
        return f"decoded in a batch {made}, alone {single}"
    for example, tokens in zip(rows, made, strict=True):
        given = replace(example, target=tokens or [EOS[subject.family]])
        with heard(tuned.backbone) as (_, logits):
            losses(tuned, [given])
        best = torch.cat(logits).argmax(-1).flatten().tolist()
        if best != given.target:
            return f"decoded {given.target}, but the losses' own most likely tokens are {best}"
    return None


@promise("evaluation", "nothing is random or kept between two evaluations")
def evaluation(subject: Subject) -> str | None:
    tuned, rows, others = subject.made(), examples(subject.family), examples(subject.family, (5, 5), seed=8)
    before = {n: t.clone() for n, t in tuned.method.state_dict().items()}
    first = answers(tuned, rows)
    answers(tuned, others)
    if (found := far(answers(tuned, rows), first, 0.0)) is not None:
        return said(found, "the same question has another answer the second time")
    changed = [n for n, t in tuned.method.state_dict().items() if not torch.equal(before[n], t)]
    return f"evaluation changed {', '.join(changed)}" if changed else None


@promise("embeddings", "what a method is given is not changed in place")
def embeddings(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family)
    backbone: Backbone = tuned.backbone
    kept: list[tuple[Tensor, Tensor]] = []
    trained = {id(p) for p in parameters(tuned).values()}
    frozen = {n: p.detach().clone() for n, p in backbone.model.named_parameters() if id(p) not in trained}
    plain = backbone.embed

    def embed(ids: Tensor) -> Tensor:
        made = plain(ids)
        kept.append((made, made.detach().clone()))
        return made

    backbone.embed = embed  # type: ignore[method-assign]
    answers(tuned, rows)
    losses(tuned, rows).sum().backward()
    backbone.embed = plain  # type: ignore[method-assign]
    if any(not torch.equal(now, before) for now, before in kept):
        return "the token embeddings that it was given were changed in place"
    wrong = [n for n, p in backbone.model.named_parameters() if n in frozen and not torch.equal(p, frozen[n])]
    return f"frozen weights were changed: {', '.join(wrong[:3])}" if wrong else None


@promise("gradients", "gradients reach every trained tensor and no other")
def gradients(subject: Subject) -> str | None:
    tuned = subject.made()
    losses(tuned, examples(subject.family, (9, 3, 14, 6, 11, 5))).sum().backward()
    trained = parameters(tuned)
    without = [n for n, p in trained.items() if p.grad is None or not bool(p.grad.any())]
    everything = len(trained) > 8 and subject.count >= tuned.counts()["method"] > 100_000  # tables' unread weights
    if without and not everything:
        return f"no gradient reaches {', '.join(without[:5])}"
    ids = {id(p) for p in trained.values()}
    leaked = [n for n, p in tuned.named_parameters() if p.grad is not None and id(p) not in ids]
    return f"gradients reach what is not trained: {', '.join(leaked[:5])}" if leaked else None


@promise("checkpointing", "gradient checkpointing gives the same gradients")
def checkpointed(subject: Subject) -> str | None:
    tuned, seen = subject.made(), []
    for on in (False, True):
        tuned.backbone.gradient_checkpointing(on)
        tuned.backbone.train()  # layers are checkpointed in training mode alone; the method's own dropout stays off
        if tuned.backbone.head is not None:
            tuned.backbone.head.eval()
        tuned.zero_grad()
        losses(tuned, examples(subject.family)).sum().backward()
        seen.append({n: p.grad.clone() for n, p in parameters(tuned).items() if p.grad is not None})
    if seen[0].keys() != seen[1].keys():
        return "other tensors get gradients with checkpointing"
    wrong = {n: d for n in seen[0] if (d := far(seen[0][n], seen[1][n], 1e-3)) is not None}
    return said(max(wrong.values()), f"other gradients of {', '.join(list(wrong)[:3])}") if wrong else None


@promise("saved", "trained, saved and loaded into another one gives the same answers")
def saved(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family)
    optimizer = torch.optim.SGD(parameters(tuned).values(), lr=1e-3) if parameters(tuned) else None
    buffers = {n: t.clone() for n, t in tuned.method.named_buffers()}
    for _ in range(2):
        tuned.train()
        losses(tuned, rows).sum().backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
    tuned.eval()
    changed = [n for n, t in tuned.method.named_buffers() if not torch.equal(t, buffers[n])]
    if changed:
        return f"training changed {', '.join(changed)}, which no optimiser, checkpoint or best step knows"
    other = subject.made(seed=4, stir=False)
    other.load_state(tuned.state())
    return said(far(answers(other, rows), answers(tuned, rows), 1e-6), "something it answers with is not saved")


@promise("precision", "bfloat16 embeddings give finite numbers of the same kind")
def precision(subject: Subject) -> str | None:
    tuned = subject.made()
    if not isinstance(tuned.inputs, InputMethod) or tuned.inputs is not tuned.method:
        return None
    width = tuned.backbone.facts.width
    source = Source(torch.randn(2, 5, width).bfloat16(), torch.ones(2, 5).long(), torch.ones(2, 5).long(),
                    specials=torch.tensor([[0, -1, -1, -1, 1]] * 2), fields=torch.zeros(2, 5).long(),
                    reader=lambda s: torch.randn(len(s), width).bfloat16())  # fmt: skip
    out, _ = tuned.inputs(source)
    return None if out.dtype == torch.bfloat16 and bool(out.isfinite().all()) else f"gives {out.dtype}, or not finite"


@promise("packed", "runs that share passes are the runs alone")
def packed(subject: Subject) -> str | None:
    one = subject.made()
    if one.inputs is not one.method or not traits_of(subject.family).writes or one.inputs.answers_together:
        return None  # it changes the model, or has several answers to a row: it runs alone
    rows, method = examples(subject.family), one.method
    another = subject.made(seed=4).method
    pack = PackedInputs([method, PT(one.backbone.facts, prompt_length=7), another])
    shared = Tuned(one.backbone, pack).eval()
    pack.use([0, 1, 2], [len(rows)] * 3)
    together = answers(shared, rows * 3).split(len(rows))
    for index, own in ((0, method), (2, another)):
        found = far(together[index], answers(Tuned(one.backbone, own).eval(), rows))
        if found is not None:
            return said(found, "answers in a pack are not the answers alone")
    return None


def broken(subject: Subject, names: tuple[str, ...] = ()) -> dict[str, str]:
    """Which promises a method breaks on one family, and how; an exception breaks the promise that it came in."""
    found = {}
    for name in names or tuple(PROMISES):
        try:
            what = PROMISES[name][1](subject)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
        if what is not None:
            found[name] = what
    return found
