"""One process or many: Accelerate places the run, gradients are summed and predictions gathered exactly.

The loss of a process is its rows' summed cross-entropy over the *global* batch's number of target tokens, so the sum of
the processes' gradients is the gradient of one big batch, whatever the number of processes and however the batch
divides. The trained tensors are kilobytes: one flat buffer is reduced per step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import gather_object
from torch import nn

from runners.config import RunnerConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Workers:
    """The processes of one run."""

    def __init__(self, runner: RunnerConfig) -> None:
        if runner.threads:
            torch.set_num_threads(runner.threads)
        self.accelerator = Accelerator(cpu=runner.device == "cpu", mixed_precision="no")
        self.dtype = DTYPES[runner.precision]

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

    def sum_gradients(self, parameters: Iterable[nn.Parameter], loss: torch.Tensor) -> float:
        """Sum gradients (in place) and the loss over the processes; returns the summed loss."""
        if self.count == 1:
            return float(loss)
        tensors = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([loss.detach().reshape(1).float(), *(tensor.reshape(-1).float() for tensor in tensors)])
        flat = self.accelerator.reduce(flat, "sum")  # type: ignore[assignment]
        start = 1
        for parameter, tensor in zip(parameters, tensors, strict=True):
            parameter.grad = flat[start : start + tensor.numel()].view_as(tensor).to(tensor.dtype)
            start += tensor.numel()
        return float(flat[0])

    def gather(self, items: Sequence[Any]) -> list[Any]:
        """The items of every process, in the order of ranks, on every process."""
        return list(items) if self.count == 1 else list(gather_object(list(items)))

    def agree(self, flag: bool) -> bool:
        """Whether any process says yes (a signal may reach one of them first)."""
        return any(self.gather([flag]))

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def reset() -> None:
    """Forget Accelerate's process-wide state, so that the next run of this process may choose other settings.

    The process group of a distributed run stays: its processes live on.
    """
    if PartialState._shared_state and PartialState().num_processes > 1:
        return
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
