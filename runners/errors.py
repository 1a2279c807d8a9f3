"""What refuses a run, and what a run that did not fit into memory says."""

from __future__ import annotations

import torch


class Refused(ValueError):
    """A configuration that cannot run, said before anything is trained."""


def memory_is_full(error: BaseException) -> bool:
    """Whether an error says so (torch's allocator on the CPU raises a plain RuntimeError)."""
    plain = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return plain or isinstance(error, torch.OutOfMemoryError | MemoryError)


def out_of_memory(error: BaseException) -> str:
    """The reason of a run that did not fit, and what may make it fit."""
    advice = "try runner.micro_batch=4 runner.gradient_checkpointing=true, or runner.precision=bf16"
    return f"out of memory ({str(error).strip().splitlines()[0] if str(error).strip() else 'killed'}); {advice}"
