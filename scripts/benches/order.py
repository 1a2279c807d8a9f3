"""Batches cut for their lengths against whole ones, in the papers' own random order.

    python scripts/bench.py order [--backbones smollm2_135m,t5_small] [--sets rte,boolq] [--steps 6] [--rounds 3]

Both arms take the same training steps of the runner on the same random batches of 16 (no grouping by length); one with
`runner.micro_batch=auto`, as runs are, the other with `runner.micro_batch=null`. Rows are made up, as long as those of
the set (the lengths below); true shapes with random weights, fp32. Each arm of each round is a process of its own, arms
alternate, and the losses must be equal to 1e-4 (in fp32).
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Sequence
from typing import Any

from scripts.benches import BENCH
from scripts.benches.steps import timed_steps

ARMS = {"cut": "auto", "whole": "null"}
LENGTHS = {
    # every twentieth of the training rows' tokens, shortest to longest: T5 pieces with the field names, cut at 256
    "rte": [21, 39, 44, 48, 52, 55, 58, 61, 64, 67, 70, 74, 77, 82, 90, 104, 123, 142, 158, 182, 256],
    "boolq": [31, 67, 80, 90, 99, 107, 116, 123, 131, 139, 148, 155, 163, 174, 184, 197, 212, 233, 256, 256, 256],
}
ROWS = 512
WARM = 1  # steps before the clock starts


def main(arguments: Sequence[str]) -> int:
    """Parent: alternate the arms and print the ratios; 1 if losses differ. Child (`--arm`): one arm as JSON."""
    parser = argparse.ArgumentParser(
        prog="bench.py order", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", default="smollm2_135m,t5_small")
    parser.add_argument("--sets", default="rte,boolq")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="timed steps per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arm", nargs=3, metavar=("ARM", "BACKBONE", "SET"), help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="further values of the run, as method.prompt_length=100")
    options = parser.parse_intermixed_args(arguments)
    if options.arm:
        print(json.dumps(measure(*options.arm, options)))
        return 0
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    from runners.meters import in_child, machine, spread

    passed = [f"--batch={options.batch}", f"--steps={options.steps}", *options.overrides]
    print(f"{machine()}\n")
    apart = 0.0
    for backbone in options.backbones.split(","):
        for name in options.sets.split(","):
            found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
            for number in range(options.rounds):
                for arm in sorted(ARMS, reverse=bool(number % 2)):
                    found[arm].append(in_child(BENCH, ["order", "--arm", arm, backbone, name, *passed]))
            cut, whole = found["cut"], found["whole"]
            ratios = [one["rate"] / other["rate"] for one, other in zip(cut, whole, strict=True)]
            apart = max(apart, *(abs(a - b) for a, b in zip(cut[0]["losses"], whole[0]["losses"], strict=True)))
            print(
                f"{backbone}, {name}: {spread([r['rate'] for r in cut])} examples/s cut ({cut[0]['passes']:.1f} passes "
                f"a step), {spread([r['rate'] for r in whole])} whole; padded to {cut[0]['padded']:.2f} and "
                f"{whole[0]['padded']:.2f} times the real tokens; ratio {spread(ratios)}",
                flush=True,
            )
    print(f"\nlosses of equal steps differ by at most {apart:.1e}")
    rounded = any(word.startswith("runner.precision=") and not word.endswith("fp32") for word in options.overrides)
    return 0 if apart <= 1e-4 or rounded else 1


def made_up(name: str, vocab: int) -> list[Any]:
    """Made-up rows with the lengths of a set, the same for both arms."""
    from tasks.encode import Encoded

    draw, known = random.Random(0), LENGTHS[name]
    found = []
    for number in range(ROWS):
        place, part = divmod(draw.random() * (len(known) - 1), 1)
        length = round(known[int(place)] + part * (known[int(place) + 1] - known[int(place)]))
        found.append(Encoded(str(number), [draw.randrange(3, vocab) for _ in range(length)], [5 + number % 2, 1]))
    return found


def measure(arm: str, backbone: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Examples per second and losses of the runner's own steps."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    from backbones.load import load_backbone
    from backbones.tuned import Tuned
    from conf.compose import compose, typed
    from conf.paths import cache_root
    from methods import load as methods
    from runners.cut import cut_for
    from runners.evaluate import Split
    from runners.order import BatchOrder
    from runners.workers import Workers

    chosen = ["method=pt", "method.prompt_length=20", "method.init=uniform", "method.lr.prompt=0.01"]
    weights = [] if backbone.startswith("tiny") else ["backbone.random_weights=true"]
    more = [f"backbone={backbone}", "task=superglue/boolq", f"runner.micro_batch={ARMS[arm]}", *weights]
    config = typed(compose([*chosen, *more, "runner.backbone_dropout=false", *options.overrides]))
    workers = Workers(config.runner)
    torch.manual_seed(0)
    frozen = load_backbone(config.backbone, device=workers.device, dtype=workers.dtype, cache_root=cache_root(config))
    method = methods.build(config.method, frozen.facts, None, torch.Generator().manual_seed(0))
    tuned = Tuned(frozen, method).to(workers.device)
    encoded = made_up(name, frozen.facts.vocab)
    lengths = [len(e.source) + len(e.target) for e in encoded]
    order = BatchOrder(lengths, options.batch, seed=1)
    batches = [order.batch(step) for step in range(WARM + options.steps)]
    split, rates = Split("train", [], encoded), dict(config.method["lr"])  # type: ignore[arg-type]
    losses, seconds, passes = timed_steps(tuned, split, batches, config.runner, rates, workers, lengths, WARM)
    cut = cut_for(config.runner.micro_batch, frozen, tuned.inputs.prompt_slots, lengths, workers.device)
    padded = sum(len(piece) * max(lengths[i] for i in piece) for rows in batches[WARM:] for piece in cut(rows))
    return {
        "rate": sum(map(len, batches[WARM:])) / seconds,
        "losses": losses,
        "passes": passes,
        "padded": padded / sum(lengths[i] for indices in batches[WARM:] for i in indices),
    }
