"""What one run owns while it trains: its tensors, optimiser, schedule, data order, best checkpoint and log.

The forward pass is not in here, so that several sessions can share one pass through the frozen backbone (a packed
sweep) and one session is simply the case K = 1.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from results.ledger import RunFolder
from runners import checkpoint
from runners.checkpoint import CorruptCheckpoint
from runners.config import RunnerConfig
from runners.measures import compile_seconds
from runners.optim import build_optimizer, factor, set_eps, set_rates
from runners.order import BatchOrder

Tensors = dict[str, Tensor]


class NotFinite(RuntimeError):
    """The training loss is NaN or infinite."""


@dataclass
class Best:
    """The best validation evaluation so far (the first one wins ties) and the method's tensors there."""

    step: int = -1
    score: float = -math.inf
    tensors: Tensors = field(default_factory=dict)


class Session:
    """One run's training state.

    Args:
        run: its folder in the ledger.
        runner: how it trains.
        groups: parameter group -> tensor name -> parameter (Tuned.trainable()).
        rates: `method.lr`.
        order: which examples make up which batch.
        main: whether this process writes.
    """

    def __init__(
        self,
        run: RunFolder,
        runner: RunnerConfig,
        groups: Mapping[str, Mapping[str, torch.nn.Parameter]],
        rates: Mapping[str, float | None],
        order: BatchOrder,
        main: bool = True,
    ) -> None:
        assert runner.max_steps is not None and runner.eval_every is not None
        self.run, self.runner, self.order, self.main = run, runner, order, main
        self.total, self.eval_every = runner.max_steps, runner.eval_every
        self.parameters = {f"{group}.{name}": tensor for group, part in groups.items() for name, tensor in part.items()}
        self.optimizer = build_optimizer(groups, rates, runner.optimizer)
        self.about: dict[str, Any] = {}  # what a checkpoint says of itself besides its run and step
        self.step = 0
        self.best = Best()
        self.last: float | None = None
        self.since_best = 0
        self.evaluated_at = -1
        self.logged = 0  # rows of metrics.jsonl
        self.untrained: dict[str, dict[str, float]] = {}
        self.earlier_seconds = 0.0
        self.earlier_compile_seconds = -compile_seconds()  # of earlier runs of this process
        self.train_seconds = 0.0
        self.examples = 0
        self.started = self.saved_at = time.monotonic()
        self.newest = math.nan  # the newest loss that was read
        self._losses: list[float] = []  # since the last log line, as far as they were read
        self._unread: list[tuple[int, Tensor]] = []  # step and loss of the last steps, on their device
        self._window = 0.0  # seconds of training at the last log line
        self._window_examples = 0

    @property
    def finished(self) -> bool:
        patience = self.runner.patience
        return self.step >= self.total or (patience is not None and self.since_best >= patience)

    @property
    def wall_seconds(self) -> float:
        """Wall time over all restarts."""
        return self.earlier_seconds + time.monotonic() - self.started

    @property
    def compile_seconds(self) -> float:
        """Seconds of torch.compile over all restarts, part of the wall time (and of the first steps)."""
        return self.earlier_compile_seconds + compile_seconds()

    def indices(self) -> list[int]:
        """The examples of the next global batch."""
        return self.order.batch(self.step)

    def update(self, loss: Tensor, examples: int, seconds: float) -> None:
        """One optimiser step from the gradients that are there.

        On the CPU the loss is read at once; elsewhere reading it would wait for the device, so it is read before the
        next log line, evaluation or checkpoint (see `read_losses`).

        Args:
            loss: mean loss per target token of the global batch, a scalar on any device.
            examples: rows of the global batch.
            seconds: what the forward and backward passes took.

        Raises:
            NotFinite: the loss is NaN or infinite.
        """
        self._unread.append((self.step + 1, loss.detach()))
        if loss.device.type == "cpu":
            self.read_losses()
        begun = time.monotonic()
        if self.runner.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.runner.clip_norm)
        set_rates(self.optimizer, factor(self.step, self.total, self.runner.schedule, self.order.steps_per_epoch))
        set_eps(self.optimizer, self.step, self.runner.optimizer)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.examples += examples
        self._window_examples += examples
        self.train_seconds += seconds + time.monotonic() - begun
        if self.step % self.runner.log_every == 0 or self.step == self.total:
            self._log_losses()

    def unreached(self) -> list[str]:
        """Tensors that no step has moved: none of the losses depended on them."""
        return [name for name, tensor in self.parameters.items() if self.step and not self.optimizer.state.get(tensor)]

    def read_losses(self) -> None:
        """Bring the losses of the last steps from their device.

        Raises:
            NotFinite: one of them is NaN or infinite; nothing that came after it may be kept.
        """
        unread, self._unread = self._unread, []
        values = torch.stack([loss for _, loss in unread]).tolist() if unread else []
        for (step, _), value in zip(unread, values, strict=True):
            if not math.isfinite(value):
                advice = "try a smaller learning rate (method.lr.*), runner.clip_norm=1, or runner.precision=fp32"
                if step == 1:  # nothing has been updated yet
                    advice = "before any update, so no learning rate made it: look at what the method computes, or try "
                    advice += "runner.precision=fp32"
                raise NotFinite(f"the training loss is {value} at step {step}: {advice}")
            self._losses.append(value)
            self.newest = value

    def evaluation_is_due(self) -> bool:
        """At every `eval_every` steps and after the last one, unless this step was scored already."""
        at_step = self.step > 0 and (self.step % self.eval_every == 0 or self.step >= self.total)
        return at_step and self.evaluated_at != self.step

    def consider(self, split: str, metrics: Mapping[str, float], selection: str) -> None:
        """Log an evaluation on the selection split and keep the tensors where it is the best so far.

        Raises:
            NotFinite: a loss of the steps before was.
        """
        self.read_losses()
        self.evaluated_at = self.step
        score = self.last = metrics[selection]
        if score > self.best.score or self.best.step < 0:
            self.best = Best(self.step, score, self.snapshot())
            self.since_best = 0
        else:
            self.since_best += 1
        self.log({"step": self.step, "split": split, "metrics": dict(metrics)})

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl (on the main process)."""
        self.logged += 1
        if self.main:
            self.run.append_metrics(row)

    def snapshot(self) -> Tensors:
        return {name: tensor.detach().clone().cpu() for name, tensor in self.parameters.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.parameters.items():
                tensor.copy_(tensors[name])

    def checkpoint_is_due(self) -> bool:
        """Every `checkpoint_every` steps or `checkpoint_seconds`, whichever comes first (and after evaluations)."""
        late = time.monotonic() - self.saved_at > self.runner.checkpoint_seconds
        return late or self.step % self.runner.checkpoint_every == 0

    def save(self, rng: list[dict[str, Any]]) -> None:
        """Write checkpoint.pt atomically: kilobytes, never the backbone.

        Args:
            rng: the random-number states of every process, by rank (see `rng_state`).

        Raises:
            NotFinite: a loss of the steps before was; nothing is written.
        """
        self.read_losses()
        state = {
            "step": self.step,
            "tensors": self.snapshot(),
            "optimizer": self.optimizer.state_dict(),
            "best": {"step": self.best.step, "score": self.best.score, "tensors": self.best.tensors},
            "last": self.last,
            "since_best": self.since_best,
            "logged": self.logged,
            "evaluated_at": self.evaluated_at,
            "untrained": self.untrained,
            "wall_seconds": self.wall_seconds,
            "compile_seconds": self.compile_seconds,
            "train_seconds": self.train_seconds,
            "examples": self.examples,
            "losses": self._losses,
            "rng": rng,
        }
        checkpoint.write(self.run, state, self.about)
        self.saved_at = time.monotonic()

    def resume(self, rank: int = 0) -> bool:
        """Go on from checkpoint.pt where there is one; the metrics log is cut back to its step.

        Raises:
            CorruptCheckpoint: the file is damaged, another run's or of other data.
        """
        state = checkpoint.read(self.run, self.about)
        if state is None:
            if self.main:
                (self.run / "metrics.jsonl").unlink(missing_ok=True)
            return False
        try:
            self.load(state["tensors"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.best = Best(**state["best"])
            self._take(state)
            restore_rng(state["rng"][min(rank, len(state["rng"]) - 1)])
        except Exception as error:
            raise CorruptCheckpoint(
                f"{self.run / checkpoint.NAME}: its state does not fit this run ({type(error).__name__}: {error}); "
                "force=true trains it from its start"
            ) from error
        if self.main:
            self.run.cut_metrics(self.logged)
        return True

    def _take(self, state: Mapping[str, Any]) -> None:
        self.step, self.last, self.logged = state["step"], state["last"], state["logged"]
        self.since_best, self.evaluated_at = state["since_best"], state["evaluated_at"]
        self.untrained, self.examples = state["untrained"], state["examples"]
        self.earlier_seconds, self.train_seconds = state["wall_seconds"], state["train_seconds"]
        self.earlier_compile_seconds += state.get("compile_seconds", 0.0)
        self._losses, self._window = state["losses"], self.train_seconds

    def _log_losses(self) -> None:
        self.read_losses()
        seconds = self.train_seconds - self._window
        self.log(
            {
                "step": self.step,
                "loss": sum(self._losses) / len(self._losses),
                "learning_rates": {group["name"]: group["lr"] for group in self.optimizer.param_groups},
                "examples_per_second": self._window_examples / max(seconds, 1e-9),
            }
        )
        self._losses, self._window, self._window_examples = [], self.train_seconds, 0


def rng_state() -> dict[str, Any]:
    """The states that dropout draws from."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
