"""One process or many: Accelerate places the run, gradients are summed and predictions gathered exactly.

The loss of a process is its rows' summed cross-entropy over the *global* batch's number of target tokens, so the sum of
the processes' gradients is the gradient of one big batch, whatever the number of processes and however the batch
divides. The trained tensors are kilobytes: one flat buffer is reduced per step.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from runners.config import RunnerConfig

T = TypeVar("T")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def has_accelerator() -> bool:
    """Whether there is a GPU (CUDA or Apple's)."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def missing_device(device: str | None) -> str | None:
    """Why `runner.device` cannot be had on this machine; None where it can."""
    kind, _, number = (device or "cpu").partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind in there and (int(number) if number.isdigit() else 0) < there[kind]:
        return None
    have = ", ".join(name for name, count in there.items() if count)
    return f"runner.device={device}: this machine has no such device (there is: {have})"


class PeerFailed(RuntimeError):
    """Another process of this run failed; the message says which and why."""


class Workers:
    """The processes of one run."""

    def __init__(self, runner: RunnerConfig) -> None:
        if runner.threads:
            torch.set_num_threads(runner.threads)
        if runner.device is None and not has_accelerator():
            # of a plain torchrun on CPUs Accelerate makes single processes unless it is told
            on_cpu = True
        else:
            on_cpu = (runner.device or "").split(":")[0] == "cpu"
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.dtype = DTYPES[runner.precision]
        if self.count > 1:
            atexit.unregister(_leave)  # once, however many runs this process has
            atexit.register(_leave)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def count(self) -> int:
        return self.accelerator.num_processes

    @property
    def main(self) -> bool:
        return self.accelerator.is_main_process

    def sum_gradients(
        self,
        parameters: Iterable[nn.Parameter],
        loss: torch.Tensor,
        *,
        stop: bool = False,
        error: Exception | None = None,
    ) -> tuple[torch.Tensor, bool]:
        """Sum gradients (in place) and the loss over the processes, in one exchange.

        Alone, nothing is read from the device; several processes read two flags a step, which tell of stops and errors.

        Args:
            stop: this process was told to stop.
            error: why this process has no gradients.

        Returns:
            The summed loss, and whether any process was told to stop.

        Raises:
            PeerFailed: another process has an error (this one's own is raised as it is).
        """
        if self.count == 1:
            if error is not None:
                raise error
            return loss, stop
        tensors = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        told = torch.tensor([float(stop), float(error is not None)], device=loss.device)
        flat = torch.cat([loss.detach().reshape(1).float(), told, *(tensor.reshape(-1).float() for tensor in tensors)])
        flat = self.accelerator.reduce(flat, "sum")  # type: ignore[assignment]
        stops, errors = flat[1:3].tolist()
        if errors:
            self._raise_together(error)
        start = 3
        for parameter, tensor in zip(parameters, tensors, strict=True):
            parameter.grad = flat[start : start + tensor.numel()].view_as(tensor).to(tensor.dtype)
            start += tensor.numel()
        return flat[0], bool(stops)

    def jointly(self, work: Callable[[], T]) -> T:
        """Do `work` on every process; where it fails on one it fails on all, so that none waits for ever.

        Raises:
            PeerFailed: it failed on another process (this one's own failure is raised as it is).
        """
        if self.count == 1:
            return work()
        error: Exception | None = None
        result: Any = None
        try:
            result = work()
        except Exception as caught:
            error = caught
        self._raise_together(error)
        return result

    def _raise_together(self, error: Exception | None) -> None:
        texts = self.gather([f"{type(error).__name__}: {error}" if error is not None else None])
        if error is not None:
            raise error
        for rank, text in enumerate(texts):
            if text is not None:
                raise PeerFailed(f"process {rank} of {self.count} failed: {text}")

    def from_main(self, item: T) -> T:
        """What the main process gives, on every process."""
        if self.count == 1:
            return item
        items = [item]
        broadcast_object_list(items)
        return items[0]

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """The items of every process, in the order of ranks, on every process."""
        return list(items) if self.count == 1 else list(gather_object(list(items)))

    def any(self, flag: bool) -> bool:
        """Whether any process says yes (a signal may reach one of them first)."""
        return any(self.gather([flag]))


def _leave() -> None:
    """Close the process group while the interpreter still lives: gloo's threads abort a process that exits with it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def reset() -> None:
    """Forget Accelerate's process-wide state, so that the next run of this process may choose other settings.

    The process group of a distributed run stays: its processes live on.
    """
    if PartialState._shared_state and PartialState().num_processes > 1:
        return
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
