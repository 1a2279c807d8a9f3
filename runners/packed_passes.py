"""A step of a pack: the batches of its members as shared passes, and each member's gradient in its own tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from backbones.batch import Batch
from backbones.tuned import Tuned
from runners.ahead import collated
from runners.cut import cut_for
from runners.order import micro_batches
from runners.packed_inputs import PackedInputs
from runners.packed_member import Member
from runners.passes import Mean, mean_loss, require_trained

Places = tuple[tuple[int, int], ...]  # (a member's place, its step), by member


@dataclass
class Shared:
    """A step of a pack on the host: rows of each member's batch, how its losses are averaged, and the passes.

    Each pass has the rows of every member that is in it, and the tensors of all.
    """

    rows: dict[int, int]
    means: dict[int, Mean]
    pieces: list[tuple[dict[int, list[int]], Batch]]


class SharedPasses:
    """The passes of members that train together.

    Args:
        members: of the pack; places count from here.
        tuned: the backbone under the members' joined methods.
        inputs: these.
        how: what an example's loss is averaged over (`runners.passes.target_tokens`).
    """

    def __init__(self, members: Sequence[Member], tuned: Tuned, inputs: PackedInputs, how: str) -> None:
        self.members, self.tuned, self.inputs, self.how = list(members), tuned, inputs, how
        self.device = self.members[0].workers.device

    def batch(self, places: Places) -> Shared:
        """The batch of every member at its step; what the next one has, unless a member leaves."""
        return self.of({i: self.members[i].session.order.batch(step) for i, step in places})

    def of(self, batches: dict[int, list[int]]) -> Shared:
        """Shared passes of some members' batches, on the host."""
        train = {i: self.members[i].parts.splits["train"] for i in batches}
        means = {
            i: mean_loss(train[i], rows, self.how, self.members[i].runner.mean_rows) for i, rows in batches.items()
        }
        made = []
        for here in self._passes(batches, {i: split.lengths for i, split in train.items()}):
            rows = [train[i].encoded[j] for i, piece in here.items() for j in piece]
            made.append((here, collated(self.tuned.backbone, rows, self.device)))
        return Shared({i: len(rows) for i, rows in batches.items()}, means, made)

    def gradients(self, shared: Shared) -> dict[int, torch.Tensor]:
        """Leave each member's gradient in its own tensors; the mean loss per target token of each member."""
        self.tuned.train()
        means = shared.means
        losses = {i: torch.zeros((), device=self.device) for i in shared.rows}
        for here, batch in shared.pieces:
            self.inputs.use(list(here), [len(piece) for piece in here.values()])
            rows, _ = self.tuned.losses(batch.to(self.device))
            blocks = rows.float().split([len(piece) for piece in here.values()])
            parts = [means[i](block, here[i]) for i, block in zip(here, blocks, strict=True)]
            whole = torch.stack(parts).sum()
            require_trained(whole, self.members[next(iter(here))].parts.tuned.method)
            whole.backward()
            for i, part in zip(here, parts, strict=True):
                losses[i] += part.detach()
        return losses

    def _passes(
        self, batches: dict[int, list[int]], lengths: dict[int, Sequence[int]]
    ) -> Iterator[dict[int, list[int]]]:
        """Each shared pass: the rows that every member has in it. Rows of all members are cut for length together."""
        micro = self.members[0].runner.micro_batch
        rows = [(i, j) for i, batch in batches.items() for j in batch]
        if micro != "auto":
            pieces = {i: micro_batches(batch, None if micro is None else int(micro)) for i, batch in batches.items()}
            for number in range(max(len(parts) for parts in pieces.values())):
                yield {i: parts[number] for i, parts in pieces.items() if number < len(parts)}
            return
        prompt = max(member.parts.tuned.method.prompt_slots for member in self.members)
        tokens = [lengths[i][j] for i, j in rows]
        cut = cut_for(micro, self.tuned.backbone, prompt, tokens, self.device)
        for piece in cut(range(len(rows))):
            here: dict[int, list[int]] = {}
            for i, j in (rows[number] for number in piece):
                here.setdefault(i, []).append(j)
            yield dict(sorted(here.items()))
