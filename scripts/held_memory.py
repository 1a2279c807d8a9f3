"""Resident memory of a frozen model as it is held, and the peak of a prompt's training pass: whole, in parts, few bits.

    python scripts/held_memory.py [int8|nf4] [backbone=t5_base]
    torchrun --nproc_per_node 2 scripts/held_memory.py fsdp [backbone=t5_base]

Random weights of true shapes in fp32 on the CPU, 2 rows of 61 tokens, above what the process has before it loads.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.distributed

from backbones.load import load_backbone
from backbones.sharded import shard
from backbones.tuned import Tuned
from conf.compose import compose, typed
from methods.pt import PT
from results.command_line import command
from runners.measures import peak_memory, reset_peak, resident_memory
from tasks.encode import Encoded

CPU = torch.device("cpu")


@command
def main(arguments: list[str]) -> int:
    """Prints one line for this process; exit code 2 where it is asked for something else."""
    how = next((word for word in arguments if "=" not in word), "whole")
    if how not in ("whole", "int8", "nf4", "fsdp"):
        print(__doc__)
        return 0 if how in ("-h", "--help") else 2
    chosen = [word for word in arguments if "=" in word] or ["backbone=t5_base"]
    few = [f"backbone.quantization={how}"] if how in ("int8", "nf4") else []
    config = typed(compose([*chosen, *few, "method=pt", "data=fixture", "backbone.random_weights=true"])).backbone
    if how == "fsdp":
        torch.distributed.init_process_group("gloo")
    reset_peak(CPU)
    before = resident_memory()
    backbone = load_backbone(config, cache_root="unused")
    if how == "fsdp":
        shard(backbone, CPU)
    tuned = Tuned(backbone, PT(backbone.facts, prompt_length=20, generator=torch.Generator().manual_seed(1)))
    loading = peak_memory(CPU) - before
    reset_peak(CPU)
    held = resident_memory() - before
    rows = [Encoded(str(i), [*range(10, 70), 1], [40, 1], [[40, 1]], 0) for i in range(2)]
    for _ in range(2):
        tuned.losses(backbone.collate(rows))[0].sum().backward()
    passing = peak_memory(CPU) - before
    print(f"{how}: held {held / 1e6:.0f} MB, peak of training {passing / 1e6:.0f}, of loading {loading / 1e6:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
