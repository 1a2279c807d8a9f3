"""What every method promises, each as a function that says in a sentence where it is broken.

A method is built, put on tiny backbones of all families and looked at from outside: what it is given is changed, and
its answers are compared. scripts/check_method.py prints them for one file, the contract tests hold them for every one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.base import Backbone
from backbones.tuned import Tuned
from methods.base import InputMethod
from methods.pt import PT
from methods.source import Source
from runners import promises_of_rows  # noqa: F401 (what a row's answer depends on: kept under its names in PROMISES)
from runners.packed_inputs import PackedInputs
from runners.promised import (
    EOS,
    PROMISES,
    Subject,
    answers,
    examples,
    far,
    heard,
    losses,
    only_method,
    parameters,
    promise,
    said,
)
from tasks.families import family as traits_of


@promise("acts", "trained tensors change the answers")
def acts(subject: Subject) -> str | None:
    rows = examples(subject.family)
    with only_method(one := subject.made(stir=False)), only_method(other := subject.made()):
        same = far(answers(one, rows), answers(other, rows)) is None
    alone = not traits_of(subject.family).writes and not subject.count  # the head alone
    return "answers stay the same when every tensor of the method is moved" if same and not alone else None


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
    width = tuned.backbone.facts.at_input().width
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
    pack = PackedInputs([method, PT(one.backbone.facts.at_input(), prompt_length=7), another])
    shared = Tuned(one.backbone, pack).eval()
    pack.use([0, 1, 2], [len(rows)] * 3)
    together = answers(shared, rows * 3).split(len(rows))
    for index, own in ((0, method), (2, another)):
        found = far(together[index], answers(Tuned(one.backbone, own).eval(), rows))
        if found is not None:
            return said(found, "answers in a pack are not the answers alone")
    return None


def broken(subject: Subject, names: tuple[str, ...] = ()) -> dict[str, str]:
    """Which promises a method breaks on one family, and how; an exception breaks the promise that it came in.

    A method that cannot be made breaks `made` and is asked nothing else.
    """
    found: dict[str, str] = {}
    for name in ("made", *(name for name in names or tuple(PROMISES) if name != "made")):
        try:
            what = PROMISES[name][1](subject)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
        if what is not None:
            found[name] = what
        if "made" in found:
            break
    return found
