"""The training loop: gradients of one global batch, one optimiser step, now and then an evaluation and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from runners.cut import Cut, cut_for
from runners.evaluate import Evaluator, Split
from runners.order import share
from runners.progress import bar, say
from runners.session import Session, rng_state
from runners.stopping import Stopped, StopSignal
from runners.workers import Workers
from tasks.encode import Encoded


def target_tokens(encoded: Encoded, how: str) -> int:
    """What the loss of an example is averaged over: target tokens, tagged words, or the one class."""
    if how == "tag":
        return len(encoded.word_starts)
    return 1 if how == "classify" else len(encoded.target)


def mean_loss(
    train: Split, indices: Sequence[int], how: str, rows: int | None
) -> Callable[[torch.Tensor, Sequence[int]], torch.Tensor]:
    """(summed losses of some examples, their indices) -> their part in the mean loss of the global batch.

    The mean is over the batch's target tokens; with `rows`, over groups of so many examples of each group's mean over
    its tokens, as a trainer that accumulates gradients over such groups takes it.
    """
    if rows is None:
        total = max(1, sum(target_tokens(train.encoded[i], how) for i in indices))
        return lambda losses, piece: losses.sum() / total
    groups = [indices[start : start + rows] for start in range(0, len(indices), rows)]
    weights: dict[int, float] = {}
    for group in groups:
        tokens = max(1, sum(target_tokens(train.encoded[i], how) for i in group))
        weights |= dict.fromkeys(group, 1.0 / (tokens * len(groups)))
    return lambda losses, piece: losses @ losses.new_tensor([weights[i] for i in piece])


def gradients(
    tuned: Any,
    train: Split,
    indices: Sequence[int],
    how: str,
    workers: Workers,
    cut: Cut,
    stop: bool = False,
    mean_rows: int | None = None,
) -> tuple[torch.Tensor, bool]:
    """Leave the gradient of the global batch's mean loss in the trained tensors.

    The mean is over all target tokens of the global batch (as the papers' trainers take it), so neither the number of
    processes nor the micro-batches change it.

    Args:
        cut: how this process's part of the batch becomes passes (runners/cut.py).
        mean_rows: rows per mean (`mean_loss`).

    Returns:
        That loss, and whether any process was told to stop (`stop` on one of them).
    """
    error, loss = None, torch.zeros((), device=workers.device)
    try:
        loss = _backward(tuned, train, indices, how, workers, cut, mean_rows)
    except Exception as caught:  # told to the other processes, which would wait for this one's gradients
        error = caught
    return workers.sum_gradients(list(trained(tuned)), loss, stop=stop, error=error)


def _backward(
    tuned: Any, train: Split, indices: Sequence[int], how: str, workers: Workers, cut: Cut, mean_rows: int | None
) -> torch.Tensor:
    """Forward and backward of this process's part of a global batch; its part of the mean loss."""
    averaged = mean_loss(train, indices, how, mean_rows)
    loss = torch.zeros((), device=workers.device)
    for piece in cut(share(indices, workers.rank, workers.count)):
        batch = tuned.backbone.collate([train.encoded[i] for i in piece]).to(workers.device)
        losses, _ = tuned.losses(batch)
        part = averaged(losses.float(), piece)
        part.backward()
        loss += part.detach()
    return loss


def trained(tuned: Any) -> Iterator[torch.nn.Parameter]:
    for part in tuned.trainable().values():
        yield from part.values()


def train(
    session: Session,
    tuned: Any,
    train_split: Split,
    selection: Split,
    evaluator: Evaluator,
    metric: str,
    *,
    label: str,
    log: Callable[[dict[str, Any], int], None],
    beat: Callable[[], None],
    stop: StopSignal,
) -> None:
    """Train until the budget or the patience ends; the session then holds the best tensors.

    Args:
        metric: the validation metric that selects.
        log: mirrors values (tracking).
        beat: called at every checkpoint (the record's heartbeat).
        stop: whether SIGTERM came; then a checkpoint is written and the loop left.

    Raises:
        Stopped: SIGTERM came; the checkpoint of the last step is written.
        NotFinite: the loss is NaN or infinite; no checkpoint holds it.
    """
    workers, runner = evaluator.workers, session.runner
    cut = cut_for(runner.micro_batch, tuned.backbone, tuned.inputs.prompt_slots, train_split.lengths, workers.device)
    evaluator.stopping = lambda: stop.came
    with (
        stop.deferred(),
        bar(label, session.total, session.step, main=workers.main) as shown,
    ):
        while True:
            if session.evaluation_is_due():  # also after a resume, when the signal came before it
                session.read_losses()
                try:
                    metrics = evaluator(selection).metrics
                except Stopped:
                    _checkpoint(session, workers, beat)
                    raise
                session.consider(selection.name, metrics, metric)
                log({f"{selection.name}/{key}": value for key, value in metrics.items()}, session.step)
                _checkpoint(session, workers, beat)
            if session.finished:
                break
            tuned.train()
            begun = time.monotonic()
            indices = session.indices()
            loss, stopped = gradients(
                tuned, train_split, indices, evaluator.how, workers, cut, stop.came, runner.mean_rows
            )
            session.update(loss, len(indices), time.monotonic() - begun)
            shown.update()
            shown.set_postfix(_postfix(session, metric), refresh=False)
            if session.step % runner.log_every == 0:
                log({"loss": session.newest}, session.step)
            if stopped or (session.checkpoint_is_due() and not session.evaluation_is_due()):
                _checkpoint(session, workers, beat)
            if stopped:
                raise Stopped(f"stopped at step {session.step} of {session.total}; the same command goes on from there")
    if workers.any(stop.came):  # it came after the last exchange; the last evaluation's checkpoint is there
        raise Stopped("stopped after the last step; the same command goes on with the final scores")
    if session.finished and session.step < session.total:
        say(f"stopped early: no better validation score in {runner.patience} evaluations", workers.main)


def _checkpoint(session: Session, workers: Workers, beat: Callable[[], None]) -> None:
    states = workers.gather([rng_state()])

    def write() -> None:
        if workers.main:
            session.save(states)
            beat()

    workers.jointly(write)


def _postfix(session: Session, metric: str) -> dict[str, str]:
    values = {"loss": f"{session.newest:.3f}", "ex/s": f"{session.examples / max(session.train_seconds, 1e-9):.1f}"}
    if session.last is not None:
        values[metric] = f"{100 * session.last:.1f}"
        values[f"best {metric}"] = f"{100 * session.best.score:.1f}"
    return values
