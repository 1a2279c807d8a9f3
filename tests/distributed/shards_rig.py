"""Run under torchrun: every method on every family, layers whole and in parts, each process with rows of its own.

Prints a line `<method> <backbone> <process> <largest difference>` for each pair, or `… refused: <sentence>`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backbones.base import Backbone
from backbones.sharded import shard
from backbones.tuned import Tuned
from tests.contract import rig


def in_parts(bare: Backbone) -> None:
    shard(bare, torch.device("cpu"))


def seen(whole: Tuned) -> list[torch.Tensor]:
    """Answers, tokens, losses and gradients of rows that are other ones, and of another number, in each process."""
    rank = dist.get_rank()
    chosen = rig.examples(whole.backbone.config.name)[rank:]
    found = []
    with whole.backbone.in_step():
        found.append(rig.answers(whole, chosen))
        if whole.backbone.facts.family != "encoder":
            tokens = whole.generate(rig.batch(whole, chosen), 2 + 3 * rank)
            found.append(torch.tensor([float(token) for row in tokens for token in row]))
    whole.train()
    rig.no_dropout(whole)
    with whole.backbone.in_step():  # all are here before gradients flow, as in training
        losses, counts = whole.losses(rig.batch(whole, chosen))
    (losses.sum() / counts.sum()).backward()
    found.append(losses.detach())
    return [*found, *(p.grad for _, p in sorted(rig.parameters(whole).items()) if p.grad is not None)]


def difference(method: str, name: str, checkpointing: bool) -> str:
    sides = []
    for prepare in (lambda bare: None, in_parts):
        whole = rig.tuned(method, name, prepare=prepare)
        whole.backbone.gradient_checkpointing(checkpointing)
        sides.append(seen(whole))
    shapes = [[tuple(t.shape) for t in side] for side in sides]
    assert shapes[0] == shapes[1], shapes
    pairs = zip(*sides, strict=True)
    return f"{max(float(torch.nan_to_num(one - other).abs().max()) for one, other in pairs if one.numel()):.2g}"


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    checkpointing = "checkpointing" in wanted
    for method, name in rig.pairs():
        if set(wanted) - {"checkpointing"} and method not in wanted:
            continue
        try:
            told = difference(method, name, checkpointing)
        except ValueError as error:
            told = f"refused: {error}"
        line = f"{method} {name} {dist.get_rank()} {told}\n"
        os.write(1, line.encode())  # whole lines: two processes write to one pipe
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
