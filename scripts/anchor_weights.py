"""What the rounding of the weights costs: PIQA scored again with weights that are rounded once more.

The file that the anchor's backbone comes from keeps every projection in Q4_1: blocks of 32 weights along a row, each
the multiple 0 to 15 of the block's step over its minimum. Rounding to it moved each weight by up to half a step, evenly
spread. The original weights are not here, so the same is done to what is: noise of `units` times that variance is
added, several seeds each, and the fall from one rounding more says how far one rounding less would lift. A rounding to
8 bits (Q8_0) is the control. The embeddings, which the file keeps in 8 bits, stay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BLOCK, LEVELS, EIGHT_BIT = 32, 16, 127
STORE = Path(__file__).resolve().parents[1] / "results" / "smollm2" / "weights.jsonl"
WORDS = ["task=mc/piqa", "backbone=smollm2_135m", "protocol=lighteval", "method=none", "runner=paper"]
WORDS += ["fidelity=author"]


def noisy(weight: Tensor, units: float, generator: torch.Generator) -> Tensor:
    """A Q4_1 weight (out, in) with uniform noise of `units` times the variance of its rounding, step^2 / 12.

    Raises:
        ValueError: it is not on a grid of 16 levels per block.
    """
    blocks = weight.reshape(-1, BLOCK)
    step = (blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / (LEVELS - 1)
    level = (blocks - blocks.amin(1, keepdim=True)) / step.clamp_min(1e-30)
    if float((level - level.round()).abs().max()) > 0.01:
        raise ValueError("these weights were not rounded to Q4_1")
    error = (torch.rand(blocks.shape, generator=generator) - 0.5) * step * math.sqrt(units)
    return (blocks + error).reshape(weight.shape)


def eight_bits(weight: Tensor) -> Tensor:
    """A weight rounded to Q8_0: blocks of 32, whole multiples of the block's largest / 127."""
    blocks = weight.reshape(-1, BLOCK)
    step = (blocks.abs().amax(1, keepdim=True) / EIGHT_BIT).clamp_min(1e-30)
    return ((blocks / step).round() * step).reshape(weight.shape)


def projections(model: nn.Module) -> Iterator[Tensor]:
    """The weights that the file keeps in 4 bits."""
    for layer in model.get_submodule("model.layers").modules():
        if isinstance(layer, nn.Linear):
            yield layer.weight.data


@torch.no_grad()
def change(model: nn.Module, kind: str, seed: int) -> None:
    """Round the weights of a model once more, in place: `q8`, or the units of noise as text; `as is` changes none."""
    if kind == "as is":
        return
    generator = torch.Generator().manual_seed(seed)
    for weight in projections(model):
        weight.copy_(eight_bits(weight) if kind == "q8" else noisy(weight, float(kind), generator))


def score(kind: str, seed: int) -> dict[str, Any]:
    """PIQA by the anchor's own protocol with changed weights: which rows are right, as a text of 0 and 1."""
    from backbones.tuned import Tuned
    from conf.compose import compose, typed
    from runners.data import encode_splits, load_data
    from runners.evaluate import Evaluator
    from runners.last_backbone import admitted_backbone
    from runners.workers import DTYPES, Workers

    config = typed(compose(WORDS))
    data = load_data(config)
    backbone = admitted_backbone(config, DTYPES[config.runner.precision], "cpu")
    splits = encode_splits(config, data, backbone.tokenizer)
    change(backbone.model, kind, seed)
    scored = Evaluator(Tuned(backbone, None), config.task, config.protocol, config.runner, Workers(config.runner))
    found = scored(splits[data.report["report_split"]])
    right = "".join(str(int(p.prediction == p.reference)) for p in found.predictions)
    return {"weights": kind, "seed": seed, "right": right}


def stored() -> list[dict[str, Any]]:
    """The scorings that are kept."""
    return [json.loads(line) for line in STORE.read_text().splitlines()] if STORE.exists() else []


def wanted(seeds: int) -> list[tuple[str, int]]:
    """The scorings of so many seeds: one and two units of noise, the 8-bit control, the weights as they are."""
    if not seeds:
        return []
    return [("as is", 0), *(("1", seed + 1) for seed in range(seeds)), ("q8", 0), *(("2", s + 1) for s in range(seeds))]


def told() -> list[str]:
    """What the scorings say: accuracy by kind of weights, and the change with its 95% interval over rows and seeds."""
    rows = stored()
    base = next((row["right"] for row in rows if row["weights"] == "as is"), None)
    if base is None:
        return ["no scoring is kept: python scripts/anchor.py weights seeds=4"]
    there = np.array([int(c) for c in base])
    said = [f"weights as they are: {100 * there.mean():.1f} on {len(there):,} rows"]
    names = {
        "q8": "rounded to 8 bits",
        "1": "noise as large as the rounding to 4 bits",
        "2": "noise of twice its variance",
    }
    for kind, name in names.items():
        found = np.array([[int(c) for c in row["right"]] for row in rows if row["weights"] == kind])
        if not len(found):
            continue
        change = found - there
        by_row, by_seed = change.mean(0), change.mean(1)
        # rows and seeds are both drawn: the sum of the two variances is on the safe side
        variance = by_row.var(ddof=1) / len(there) + (by_seed.var(ddof=1) / len(by_seed) if len(by_seed) > 1 else 0.0)
        half = 1.96 * math.sqrt(variance)
        said.append(
            f"  {name}: {100 * found.mean():.1f} (seeds {len(found)}; change {100 * change.mean():+.1f} ± "
            f"{100 * half:.1f}; {100 * (found != there).mean():.1f}% of the rows turn)"
        )
    return said


def fill(scorings: Sequence[tuple[str, int]]) -> None:
    """Make the scorings that are not kept yet."""
    have = {(row["weights"], row["seed"]) for row in stored()}
    for kind, seed in scorings:
        if (kind, seed) not in have:
            row = score(kind, seed)
            with STORE.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(row) + "\n")
