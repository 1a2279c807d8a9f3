"""What a row's answer may depend on: its own source, and nothing else. Held in evaluation and in training mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.batch import Batch
from backbones.tuned import Tuned
from runners.promised import Subject, answers, examples, far, heard, losses, promise, said
from tasks.encode import Encoded
from tasks.families import family as traits_of

LENGTHS = ((7, 7, 7, 7), (9, 3, 14, 6))  # without padding, and with it
GROUPS = ((0,), (1,), (2,), (3,), (0, 1), (1, 2, 3), (3, 2, 1, 0, 2))
EXTRA = 5  # columns of padding
ENDINGS = ([40, 41, 42, 1], [40, 41, 90, 91], [40, 41, 95], [40, 41, 60, 61, 62, 63, 64])
SHARED = 3  # states that stand in front of a token in which these answers differ


@contextmanager
def stilled(tuned: Tuned, training: bool) -> Iterator[None]:
    """A mode in which nothing is dropped and every draw is zero: differences that are left are the method's doing."""

    def zeros(*size: int | torch.Size, **_: object) -> Tensor:
        return torch.zeros(*size)  # type: ignore[arg-type]

    with (
        mock.patch.object(F, "dropout", lambda x, *_, **__: x),
        mock.patch.object(torch, "randn", zeros),
        mock.patch.object(torch, "rand", zeros),
        mock.patch.object(torch, "randn_like", torch.zeros_like),
        mock.patch.object(torch, "rand_like", torch.zeros_like),
    ):
        tuned.train(training)
        try:
            yield
        finally:
            tuned.eval()


def asked(tuned: Tuned, rows: list[Encoded]) -> list[Tensor]:
    """A line for each row of what it is told: losses in evaluation and in training, and scores."""
    found = []
    for training in (False, True):
        with stilled(tuned, training):
            found.append(losses(tuned, rows).detach()[:, None])
    return [*found, answers(tuned, rows)]


def differing(tuned: Tuned, rows: list[Encoded], chosen: tuple[int, ...], together: list[Tensor]) -> float | None:
    """The largest difference of some rows, asked by themselves, from what they were told among all."""
    for own, whole in zip(asked(tuned, [rows[i] for i in chosen]), together, strict=True):
        if (found := far(own, whole[list(chosen), : own.shape[1]])) is not None:
            return found
    return None


@promise("made", "it can be made, and put on a backbone, as its options say")
def made(subject: Subject) -> None:
    subject.made()


@promise("order", "a row's answer is the same wherever it stands in a batch")
def order(subject: Subject) -> str | None:
    tuned = subject.made()
    for lengths in LENGTHS:
        rows = examples(subject.family, lengths)
        together = asked(tuned, rows)
        for turn in ((2, 0, 3, 1), (3, 2, 1, 0), (1, 2, 3, 0)):
            if (found := differing(tuned, rows, turn, together)) is not None:
                return said(found, "a row's answer depends on its place in the batch")
    return None


@promise("alone", "a row's answer is the same alone and in any batch")
def alone(subject: Subject) -> str | None:
    tuned = subject.made()
    for lengths in LENGTHS:
        rows = examples(subject.family, lengths)
        together = asked(tuned, rows)
        for chosen in GROUPS:
            if (found := differing(tuned, rows, chosen, together)) is not None:
                return said(found, f"a row's answer depends on the other rows of its batch ({len(chosen)} of them)")
    return None


@promise("padding", "padding changes nothing: neither how much there is nor what stands in it")
def padding(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family)
    for training in (False, True):
        with stilled(tuned, training):
            plain = tuned.losses(tuned.backbone.collate(rows))[0].detach()
            filled = tuned.losses(_filled(tuned.backbone.collate(rows)))[0].detach()
            if (found := far(filled, plain)) is not None:
                return said(found, "a loss changes with the token that stands in the padding")
            for index, row in enumerate(rows):
                wider = tuned.losses(_wider(tuned, tuned.backbone.collate([row])))[0].detach()
                if (found := far(wider, plain[index : index + 1])) is not None:
                    return said(found, "a loss changes with the length of the longest row")
    together = answers(tuned, rows)
    if (found := far(answers(tuned, rows, change=_filled), together)) is not None:
        return said(found, "an answer changes with the token that stands in the padding")
    for index, row in enumerate(rows):
        for change in (None, lambda batch: _wider(tuned, batch)):
            own = answers(tuned, [row], change=change)[0]
            if (found := far(own, together[index][: len(own)])) is not None:
                return said(found, "an answer changes with the length of the longest row")
    return None


def _filled(batch: Batch, token: int = 77) -> Batch:
    """Another token under the padding of sources and of answers."""
    pairs = (("source", "source_mask"), ("target", "target_mask"), ("choices", "choices_mask"))
    filled = replace(batch)
    for name, mask in pairs:
        if (ids := getattr(batch, name)) is not None:
            setattr(filled, name, ids.masked_fill(getattr(batch, mask) == 0, token))
    return filled


def _wider(tuned: Tuned, batch: Batch) -> Batch:
    """More padding, on the side where the family has it."""
    side = (EXTRA, 0) if tuned.backbone.facts.traits.continues else (0, EXTRA)
    wider = replace(batch)
    for name in ("source", "source_mask", "token_types"):
        if (given := getattr(batch, name)) is not None:
            setattr(wider, name, F.pad(given, side))
    return wider


@promise("target", "changing the target changes nothing that is read before it")
def target(subject: Subject) -> str | None:
    tuned = subject.made()
    for lengths in LENGTHS:
        rows = examples(subject.family, lengths)
        found = _targets(tuned, rows) if traits_of(subject.family).writes else _labels(tuned, rows)
        if found is not None:
            return found
    return None


def _labels(tuned: Tuned, rows: list[Encoded]) -> str | None:
    """An encoder's class scores under every label, and what its losses say of them."""
    labels = [[(int(e.label or 0) + turn) % 3 for e in rows] for turn in range(3)]
    given = [[replace(e, label=label) for e, label in zip(rows, turned, strict=True)] for turned in labels]
    scores = [answers(tuned, one) for one in given]
    if (found := far(scores[1], scores[0]) or far(scores[2], scores[0])) is not None:
        return said(found, "class scores change with the label")
    for training in (False, True):
        with stilled(tuned, training):
            lost = torch.stack([losses(tuned, one).detach() for one in given])
            mixed = losses(tuned, [given[0][0], *given[1][1:]]).detach()
        # the losses of all labels are the negative logarithms of one distribution, unless the label was seen
        if (found := far((-lost).exp().sum(0), torch.ones(len(rows)), 1e-3)) is not None:
            return said(found, f"class scores change with the label{' in training' if training else ''}")
        if (found := far(mixed[:1], lost[0][:1])) is not None:
            return said(found, "a row's loss changes with the labels of other rows")
    return None


def _targets(tuned: Tuned, rows: list[Encoded]) -> str | None:
    """The states that an answer is predicted from, candidates' scores and decoded answers, under several targets."""
    for training in (False, True):
        with stilled(tuned, training):
            fronts = [_fronts(tuned, rows, [ending] * len(rows)) for ending in ENDINGS]
            fronts.append(_fronts(tuned, rows, list(ENDINGS)))
            for other in fronts[1:]:
                if (found := far(other, fronts[0], 1e-3)) is not None:
                    where = " in training" if training else ""
                    return said(found, f"states in front of a target token change with that token{where}")
            given = [replace(e, target=ENDINGS[0]) for e in rows]
            mixed = losses(tuned, [given[0], *(replace(e, target=ENDINGS[3]) for e in rows[1:])]).detach()[:1]
            if (found := far(mixed, losses(tuned, given).detach()[:1])) is not None:
                return said(found, "a row's loss changes with the targets of other rows")
    scores = answers(tuned, rows)
    for place in range(3):  # every row has three candidates or four
        single = answers(tuned, [replace(e, choices=[e.choices[place]]) for e in rows])[:, 0]
        if (found := far(single, scores[:, place])) is not None:
            return said(found, "a candidate's score changes with the other candidates")
    decoded = [
        tuned.generate(tuned.backbone.collate([replace(e, target=ending) for e in rows]), 4) for ending in ENDINGS
    ]
    return None if decoded.count(decoded[0]) == len(decoded) else "what is decoded changes with the target"


def _fronts(tuned: Tuned, rows: list[Encoded], targets: list[list[int]]) -> Tensor:
    """(B, 3, d): the states that the first tokens of each row's target are predicted from."""
    with heard(tuned.backbone) as (states, _):
        losses(tuned, [replace(e, target=given) for e, given in zip(rows, targets, strict=True)])
    return torch.stack([own[:SHARED] for own in torch.cat(states).split([len(given) for given in targets])])


@promise("evaluation", "nothing is random or kept between two evaluations")
def evaluation(subject: Subject) -> str | None:
    tuned, rows = subject.made(), examples(subject.family)
    before = {n: t.clone() for n, t in tuned.method.state_dict().items()}

    def told() -> Tensor:
        return torch.cat([answers(tuned, rows), losses(tuned, rows).detach()[:, None]], 1)

    first = told()
    for count, lengths in enumerate(((5, 5), (12,), (4, 9, 6), (7,) * 6)):  # other questions between, never the same
        answers(tuned, examples(subject.family, lengths, seed=8 + count))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(count)
            if (found := far(told(), first, 0.0)) is not None:
                return said(found, "the same question has another answer the second time")
    changed = [n for n, t in tuned.method.state_dict().items() if not torch.equal(before[n], t)]
    if changed:
        return f"evaluation changed {', '.join(changed)}"
    tuned.train()
    losses(tuned, examples(subject.family, (8, 4), seed=3))
    tuned.eval()
    return said(far(told(), first, 0.0), "a forward in training mode changes what is answered after it")
