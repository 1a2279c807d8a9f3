"""Training steps of the runner, timed without what surrounds them in a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any


def timed_steps(
    tuned: Any, train: Any, batches: Sequence[Sequence[int]], runner: Any, rates: Mapping[str, Any], workers: Any,
    lengths: Sequence[int], warm: int,
) -> tuple[list[float], float, float]:  # fmt: skip
    """Take one step for each batch, as a run does.

    Args:
        lengths: tokens of every row of `train`.
        warm: steps before the clock starts.

    Returns:
        Every loss, the seconds of the timed steps, and how many passes each took.
    """
    from results.ledger import Ledger
    from runners.ahead import Ahead
    from runners.cut import cut_for
    from runners.meters import clock
    from runners.order import BatchOrder
    from runners.passes import passes
    from runners.session import Session
    from runners.train import gradients

    cut = cut_for(runner.micro_batch, tuned.backbone, tuned.inputs.prompt_slots, lengths, workers.device)
    begun, losses = 0.0, []
    with (
        tempfile.TemporaryDirectory() as folder,
        Ahead(lambda number: passes(tuned.backbone, train, batches[number], "rank", workers, cut)) as ahead,
    ):
        run = Ledger(folder).run("bench")
        run.folder.mkdir()
        session = Session(run, runner, tuned.trainable(), rates, BatchOrder(lengths, len(batches[0]), 1))
        tuned.train()
        for number in range(len(batches)):
            if number == warm:
                begun = clock(workers.device)
            following = number + 1 if number + 1 < len(batches) else None
            loss, rows, _ = gradients(tuned, partial(ahead.take, number, following), workers)
            session.update(loss, rows, 0.0)
            losses.append(loss)
        seconds = clock(workers.device) - begun
    pieces = sum(len(cut(indices)) for indices in batches[warm:])
    return [float(loss) for loss in losses], seconds, pieces / max(1, len(batches) - warm)
