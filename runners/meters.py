"""Measuring speed and memory so that two arms can be compared: synchronised clocks, peaks above the loaded model, and
the machine's own matrix-multiply rate from the same run."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runners.measures import peak_memory, reset_peak, resident_memory, versions


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(device: torch.device) -> float:
    """Seconds, once everything that was asked of the device is done."""
    synchronise(device)
    return time.perf_counter()


def matmul_rate(device: torch.device, dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 5) -> float:
    """Floating-point operations per second of a square matrix product: the best of some, after one to warm up."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(repeats + 1):
        begun = clock(device)
        for _ in range(3):
            one @ other
        best = max(best, 3 * 2 * size**3 / (clock(device) - begun))
    return best


@dataclass
class Memory:
    """Bytes above what was resident when `above_loaded` was entered, and in all."""

    above: int = 0
    total: int = 0


class above_loaded:
    """Context manager: the peak memory of what runs inside, above the model that is already loaded."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.memory = device, Memory()

    def __enter__(self) -> Memory:
        gc.collect()
        self.before = self._now()
        reset_peak(self.device)
        return self.memory

    def __exit__(self, *_: object) -> None:
        synchronise(self.device)
        self.memory.total = peak_memory(self.device)
        self.memory.above = max(self.memory.total - self.before, 1)

    def _now(self) -> int:
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else resident_memory()


def in_child(script: str | Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Run one arm in a process of its own; the last line of what it prints is its result as JSON.

    Raises:
        RuntimeError: the arm failed; the message has the end of what it said.
    """
    answer = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: exit {answer.returncode}\n{answer.stderr[-2000:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def spread(values: Sequence[float]) -> str:
    """'median (lowest to highest)', three digits or whole numbers."""
    median, lowest, highest = (
        f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        for value in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({lowest} to {highest})"


def machine() -> str:
    """One line: processor or GPU, threads, versions."""
    seen = versions()
    names = ", ".join(f"{name} {seen[name]}" for name in ("torch", "transformers", "peft", "accelerate"))
    return f"{seen['device']} ({platform.machine()}), {seen['threads']} threads; {names}; commit {seen['commit']}"


def repeat(work: Callable[[], None], device: torch.device, times: int, warm: int = 1) -> list[float]:
    """Seconds of each call of `work` after `warm` calls that are not counted."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(times):
        begun = clock(device)
        work()
        taken.append(clock(device) - begun)
    return taken
