"""How many runs of a pack memory has room for."""

from __future__ import annotations

from pathlib import Path

import torch

from runners.measures import peak_memory, reset_peak
from runners.packed_passes import SharedPasses
from runners.session import restore_rng, rng_state

SHARE_OF_MEMORY = 0.7


def runs_that_fit(passes: SharedPasses) -> int:
    """At least 1: the longest rows of one run's batch are passed through once and measured."""
    member, before = passes.members[0], rng_state()
    train = member.parts.splits["train"]
    longest = sorted(range(len(train.encoded)), key=train.lengths.__getitem__)[-(member.runner.batch_size or 32) :]
    reset_peak(passes.device)
    start = peak_memory(passes.device)
    passes.gradients(passes.of({0: longest}))
    bytes_per_run = max(1, peak_memory(passes.device) - start)
    for parameter in passes.inputs.parameters():
        parameter.grad = None
    restore_rng(before)
    return max(1, int(SHARE_OF_MEMORY * available_memory(passes.device) / bytes_per_run))


def available_memory(device: torch.device) -> int:
    """Bytes that are free for another pass."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 << 30
