"""Scoring K runs of a pack together: the same examples under K prompts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from runners.ahead import Ahead
from runners.evaluate import Asked, Evaluation, Evaluator, Split
from runners.packed_inputs import PackedInputs
from runners.packed_member import Member
from runners.progress import bar
from runners.stopping import Stopped, StopSignal

EVALUATION_ROWS = 256  # rows of a packed scoring pass


class PackEvaluator(Evaluator):
    """Scores one split for several members at once: the same examples under K prompts."""

    inputs: PackedInputs

    def __init__(self, tuned: Any, inputs: PackedInputs, like: Member, stop: StopSignal) -> None:
        super().__init__(tuned, like.config.task, like.config.protocol, like.runner, like.workers)
        self.inputs = inputs
        self.stopping = lambda: stop.came and stop._deferred

    def together(self, splits: dict[int, Split]) -> dict[int, Evaluation]:
        """Evaluations by member; members whose splits are equal share passes.

        Args:
            splits: member's index -> the split to score.
        """
        found: dict[int, Evaluation] = {}
        by_split: dict[str | int, list[int]] = {}
        for member, split in splits.items():
            by_split.setdefault(split.encoded.key or id(split.encoded), []).append(member)
        for members in by_split.values():
            found |= self._scored(splits[members[0]], members)
        return found

    def _scored(self, split: Split, members: Sequence[int]) -> dict[int, Evaluation]:
        count, size = len(members), len(split.examples)
        lengths = split.lengths
        order = sorted(range(size), key=lambda i: lengths[i])
        step = max(1, max(self.runner.eval_batch_size, EVALUATION_ROWS) // count)
        step = min(step, self.runner.eval_batch_size)
        answers: dict[int, list[Any]] = {member: [None] * size for member in members}
        begun = time.monotonic()
        self.tuned.eval()
        with (
            torch.inference_mode(),
            Ahead[int, Asked](lambda start: self.asked(split, order[start : start + step] * count)) as ahead,
            bar(f"score {split.name} x {count}", -(-size // step), unit="batch", leave=False) as shown,
        ):
            for start in range(0, size, step):
                if self.stopping():
                    raise Stopped(f"stopped while scoring {split.name}; the same command goes on from there")
                chosen = order[start : start + step]
                self.inputs.use(members, [len(chosen)] * count)
                following = start + step if start + step < size else None
                given = self.answered(ahead.take(start, following))  # the same rows once per member
                for place, member in enumerate(members):
                    for offset, i in enumerate(chosen):
                        answers[member][i] = given[place * len(chosen) + offset]
                shown.update()
        seconds = time.monotonic() - begun
        return {member: self.evaluation(split, answers[member], seconds / count) for member in members}
