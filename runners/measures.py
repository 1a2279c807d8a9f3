"""What a run cost: memory, time, and on what machine with which versions."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "datasets", "evaluate", "accelerate", "peft", "hydra-core", "numpy")
COMPILING = ("_compile.compile_inner", "backward._backward_impl")  # torch's names of its clocks: forward, backward


def reset_peak(device: torch.device) -> None:
    """Begin to measure a peak anew, so that a run of a sweep does not report an earlier run's (Linux and GPUs).

    What an earlier run freed is given back to the system first: the C library keeps it, and it would be counted.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's allocator, else the highest resident memory since `reset_peak` (elsewhere: so far)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_memory() -> int:
    """Bytes resident now (Linux); the peak elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compile_seconds() -> float:
    """Seconds that this process has spent compiling (runner.compile) so far, forward and backward passes."""
    if "torch._dynamo.utils" not in sys.modules:
        return 0.0
    names, values = sys.modules["torch._dynamo.utils"].compile_times(repr="csv", aggregate=True)
    return sum(float(value) for name, value in zip(names, values, strict=True) if name in COMPILING)


@cache
def versions() -> dict[str, str]:
    """Versions of what can move a score, the commit of this project, and the machine's kind."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    found["commit"] = _commit()
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"
    found["threads"] = str(torch.get_num_threads())
    return found


def _commit() -> str:
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() or "unknown"
