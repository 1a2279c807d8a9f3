"""The training loop: gradients of one global batch, one optimiser step, now and then an evaluation and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from runners.ahead import Ahead
from runners.cut import cut_for
from runners.evaluate import Evaluator, Split
from runners.passes import Passes, passes, require_trained
from runners.progress import bar, say
from runners.session import Session, rng_state
from runners.stopping import Stopped, StopSignal
from runners.workers import PeerFailed, Workers


def gradients(
    tuned: Any, take: Callable[[], Passes], workers: Workers, stop: bool = False
) -> tuple[torch.Tensor, int, bool]:
    """Leave the gradient of the global batch's mean loss in the trained tensors.

    The mean is over all target tokens of the global batch (as the papers' trainers take it), so neither the number of
    processes nor the micro-batches change it.

    Args:
        take: gives this process's part of the batch.

    Returns:
        That loss, the rows of the global batch, and whether any process was told to stop (`stop` on one of them).
    """
    error, loss, rows = None, torch.zeros((), device=workers.device), 0
    try:
        batch = take()
        loss, rows = _backward(tuned, batch, workers), batch.rows
    except Exception as caught:  # told to the other processes, which would wait for this one's gradients
        shards, error = tuned.backbone.shards, caught
        if shards is not None:
            if shards.backward:  # they wait for its part of a layer: when this process ends, their exchange fails too
                raise
            shards.all_well(failed=True)
    loss, stopped = workers.sum_gradients(list(trained(tuned)), loss, stop=stop, error=error)
    return loss, rows, stopped


def _backward(tuned: Any, batch: Passes, workers: Workers) -> torch.Tensor:
    """Forward and backward of this process's part of a global batch; its part of the mean loss."""
    loss = torch.zeros((), device=workers.device)
    shards = tuned.backbone.shards
    for number, (rows, tensors) in enumerate(batch.pieces):
        losses, _ = tuned.losses(tensors.to(workers.device))
        part = batch.mean(losses.float(), rows)
        require_trained(part, tuned.method)
        if shards is None:
            part.backward()
        else:
            if not shards.all_well():
                return loss  # another process has failed on the way to its loss: the exchange of gradients tells why
            part = part * float(number < batch.own)
            _backward_together(part, shards)
        loss += part.detach()
    return loss


def _backward_together(part: torch.Tensor, shards: Any) -> None:
    """A backward pass that all processes make at once.

    Raises:
        PeerFailed: another one ended in it.
    """
    shards.backward = True
    try:
        part.backward()
    except RuntimeError as error:
        if "gloo" in str(error) or isinstance(error, torch.distributed.DistError):
            raise PeerFailed("another process ended in a backward pass; its own output says why") from error
        raise
    shards.backward = False


def trained(tuned: Any) -> Iterator[torch.nn.Parameter]:
    for part in tuned.trainable().values():
        yield from part.values()


@dataclass
class Training:
    """One run's steps: until the budget or the patience ends; the session then holds the best tensors.

    Attributes:
        rows: what is trained on.
        selection: what is scored now and then.
        metric: the metric of the selection split that selects.
        stop: whether SIGTERM came; then a checkpoint is written and the loop left.
        log: mirrors values (tracking).
        beat: called at every checkpoint (the record's heartbeat).
        note: called at every evaluation with its step (runners/watching.py).
    """

    session: Session
    tuned: Any
    rows: Split
    selection: Split
    evaluator: Evaluator
    metric: str
    stop: StopSignal
    log: Callable[[dict[str, Any], int], None]
    beat: Callable[[], None]
    note: Callable[[int], None]

    def __post_init__(self) -> None:
        self.workers, self.runner, backbone = self.evaluator.workers, self.session.runner, self.tuned.backbone
        prompt, device = self.tuned.inputs.prompt_slots, self.workers.device
        self.cut = cut_for(self.runner.micro_batch, backbone, prompt, self.rows.lengths, device)

    def run(self, label: str) -> None:
        """All steps that are left, under a bar named `label`.

        Raises:
            Stopped: SIGTERM came; the checkpoint of the last step is written.
            NotFinite: the loss is NaN or infinite; no checkpoint holds it.
        """
        session, main = self.session, self.workers.main
        self.evaluator.stopping = lambda: self.stop.came
        with (
            self.stop.deferred(),
            Ahead(self._batch) as ahead,
            bar(label, session.total, session.step, main=main) as shown,
        ):
            while True:
                if session.evaluation_is_due():  # also after a resume, when the signal came before it
                    self._evaluate()
                if session.finished:
                    break
                stopped = self._step(ahead)
                shown.update()
                shown.set_postfix(standing(session, self.metric), refresh=False)
                if session.step % self.runner.log_every == 0:
                    self.log({"loss": session.newest}, session.step)
                if stopped or (session.checkpoint_is_due() and not session.evaluation_is_due()):
                    self._checkpoint()
                if stopped:
                    at = f"stopped at step {session.step} of {session.total}"
                    raise Stopped(f"{at}; the same command goes on from there")
        if self.workers.any(self.stop.came):  # after the last exchange; the last evaluation's checkpoint is there
            raise Stopped("stopped after the last step; the same command goes on with the final scores")
        if session.finished and session.step < session.total:
            say(f"stopped early: no better validation score in {self.runner.patience} evaluations", main)

    def _batch(self, step: int) -> Passes:
        rows = self.session.order.batch(step)
        how, mean_rows = self.evaluator.how, self.runner.mean_rows
        return passes(self.tuned.backbone, self.rows, rows, how, self.workers, self.cut, mean_rows)

    def _step(self, ahead: Ahead[int, Passes]) -> bool:
        """One optimiser step; whether any process was told to stop."""
        session = self.session
        self.tuned.train()
        begun = time.monotonic()
        following = session.step + 1 if session.step + 1 < session.total else None
        take = partial(ahead.take, session.step, following)
        loss, rows, stopped = gradients(self.tuned, take, self.workers, self.stop.came)
        session.update(loss, rows, time.monotonic() - begun)
        return stopped

    def _evaluate(self) -> None:
        """Score the selection split, keep the tensors if they are the best, and write a checkpoint."""
        session, name = self.session, self.selection.name
        session.read_losses()
        try:
            metrics = self.evaluator(self.selection).metrics
        except Stopped:
            self._checkpoint()
            raise
        session.consider(name, metrics, self.metric)
        self.note(session.step)
        self.log({f"{name}/{key}": value for key, value in metrics.items()}, session.step)
        self._checkpoint()

    def _checkpoint(self) -> None:
        states = self.workers.gather([rng_state()])

        def write() -> None:
            if self.workers.main:
                self.session.save(states)
                self.beat()

        self.workers.jointly(write)


def standing(session: Session, metric: str) -> dict[str, str]:
    """What stands beside a run's steps: loss, speed, and the selecting metric, once there is one."""
    values = {"loss": f"{session.newest:.3f}", "ex/s": f"{session.examples / max(session.train_seconds, 1e-9):.1f}"}
    if session.last is not None:
        values[metric] = f"{100 * session.last:.1f}"
        values[f"best {metric}"] = f"{100 * session.best.score:.1f}"
    return values
