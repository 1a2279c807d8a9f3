"""Rows of many tasks in one batch: one frozen model, and in front of each row the prompt of its own run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from runners.evaluate import per_unit
from runners.packed_inputs import PackedInputs
from scripts.predict import BATCH, AnsweredTable, Answerer
from tasks.answers import parse_answer


class RunsTogether:
    """Runs that share a backbone and answer each its own rows of every batch.

    Args:
        members: one for each run.
        by: the column that names a row's run, by its task or by (the beginning of) its id.

    Raises:
        ValueError: a run changes the model itself, or its offsets by position are not those of another.
    """

    def __init__(self, members: Sequence[Answerer], by: str) -> None:
        self.members, self.by, self.backbone = members, by, members[0].tuned.backbone
        inside = [m.run for m in members if m.tuned.inputs is not m.tuned.method]
        together = [m.run for m in members if m.tuned.inputs.answers_together]
        if inside or together or not self.backbone.facts.traits.packs:
            why = f"run {inside[0]} works inside the model" if inside else "an encoder has a head for each run"
            why = f"run {together[0]} answers each row in several passes" if together else why
            raise ValueError(f"{why}: only what stands in front of a model can change from row to row")
        try:
            self.inputs = PackedInputs([member.tuned.inputs for member in members]).eval()
        except ValueError as error:
            raise ValueError(f"{error}; answer these runs one after another") from None

    def owner(self, row: dict[str, Any], where: str) -> int:
        """Which run answers a row.

        Raises:
            ValueError: none, or more than one.
        """
        name = str(row.get(self.by, ""))
        found = [
            i
            for i, member in enumerate(self.members)
            if name and (member.run.startswith(name) or name in (member.task, member.task.split("/")[-1]))
        ]
        if len(found) != 1:
            known = ", ".join(f"{member.task} ({member.run})" for member in self.members)
            many = "more than one run has that name" if found else "no run has that name"
            raise ValueError(f"{where}: {self.by}={name!r}: {many}; there are {known}")
        return found[0]

    @torch.inference_mode()
    def answers(self, examples: Sequence[Any], owners: Sequence[int]) -> list[tuple[Any, dict[str, float]]]:
        """Answer and label probabilities of every example, each under its own run."""
        found: list[Any] = [None] * len(examples)
        for ranked in (True, False):
            places = [i for i, o in enumerate(owners) if (self.members[o].evaluator.how == "rank") == ranked]
            places.sort(key=owners.__getitem__)  # rows of one run stand together
            if places:
                told = self._ranked if ranked else self._generated
                for place, answer in zip(
                    places, told([examples[i] for i in places], [owners[i] for i in places]), strict=True
                ):
                    found[place] = answer
        return found

    def _batch(self, examples: Sequence[Any], owners: Sequence[int], candidates: bool) -> tuple[Any, list[Any]]:
        """The rows as one batch, with whose they are said."""
        encoded = [self.members[o].encoded([e])[0] for e, o in zip(examples, owners, strict=True)]
        members = sorted(set(owners))
        self.inputs.use(members, [owners.count(member) for member in members])
        return self.backbone.collate(encoded, candidates=candidates).to(self.backbone.device), encoded

    def _ranked(self, examples: Sequence[Any], owners: Sequence[int]) -> list[tuple[Any, dict[str, float]]]:
        batch, _ = self._batch(examples, owners, candidates=True)
        scores = self.backbone.rank(batch, self.inputs)
        found = []
        for i, (example, owner) in enumerate(zip(examples, owners, strict=True)):
            member = self.members[owner]
            own = scores[i : i + 1, : len(example.choices)].cpu()
            own = per_unit(own, [example], member.config.protocol.rank_per)
            ((answer, _),) = member.evaluator._chosen(own, [example])
            found.append(member.told(example, answer, own[0].float().softmax(-1).tolist()))
        return found

    def _generated(self, examples: Sequence[Any], owners: Sequence[int]) -> list[tuple[Any, dict[str, float]]]:
        batch, encoded = self._batch(examples, owners, candidates=False)
        limits = [self.members[o].evaluator.max_new_tokens([e]) for o, e in zip(owners, encoded, strict=True)]
        tokens = self.backbone.generate(batch, self.inputs, max(limits))
        found = []
        for example, owner, ids, limit in zip(examples, owners, tokens, limits, strict=True):
            member = self.members[owner]
            text = member.evaluator._decoded(ids[:limit])
            found.append(member.told(example, parse_answer(member.config.task, example, text), []))
        return found


def write_together(together: RunsTogether, rows: Sequence[dict[str, Any]], source: Path, out: TextIO) -> None:
    """The rows of a file with their answers, in its own form and order.

    Raises:
        ValueError: a row has no run, or lacks its task's columns.
    """
    owners = [together.owner(row, f"row {number}") for number, row in enumerate(rows, start=1)]
    examples = [
        together.members[o].of_row(row, f"row {i}") for i, (o, row) in enumerate(zip(owners, rows, strict=True), 1)
    ]
    labels: dict[str, None] = {}
    for member in together.members:
        labels |= dict.fromkeys(member.config.task.labels)
    writer = AnsweredTable(source, out, list(labels))
    for begin in range(0, len(rows), BATCH):
        part = slice(begin, begin + BATCH)
        for row, told in zip(rows[part], together.answers(examples[part], owners[part]), strict=True):
            writer.add(row, *told)
    out.flush()
