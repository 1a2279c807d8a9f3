"""The efficiency table of the DePT paper's kind: time per step, memory and inference speed at an equal budget.

    python scripts/bench.py efficiency [--backbones t5_small,t5_base] [--batch 16] [--steps 5] [--rounds 2]

PT with 100 tokens against DePT (20 tokens, rank 60, and 40 tokens, rank 45), ADePT (folded at inference and not) and
ACCEPT, on the true shapes of the backbones with random weights (speed does not depend on the values), at fixed padding
to 256 tokens (as published) and at dynamic padding. Each arm runs in a child process of its own, arms alternate. A
verdict follows for each published claim, and for what this project expects where nothing is published.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from scripts.benches import BENCH

FIXED = 256
METHODS = {
    "PT": ["method=pt", "method.prompt_length=100"],
    "DePT m=20": ["method=dept/m20_r60"],
    "DePT m=40": ["method=dept/m40_r45"],
    "ADePT": ["method=adept/m40_r29"],
    "ADePT folded": ["method=adept/m40_r29"],
    "ACCEPT": ["method=accept/m40"],
}
BACKBONES = "t5_small,t5_base,smollm2_135m"  # on a GPU: t5_large too
ABSTRACT = "published: over 20 % less (DePT, abstract)"
REVIEW = "published: 6.5 % (T5-small) to 18.1 % (T5-large) more answers per second, quoted from a review of the paper"
EXPECTED = "nothing published; expected here"
# (what, where it comes from, measured quantity, method, compared with, the ratio that it claims at most)
CLAIMS = (
    ("DePT m=20 trains in less time than PT", ABSTRACT, "step", "DePT m=20", "PT", 0.8),
    ("DePT m=20 trains in less memory than PT", ABSTRACT, "memory", "DePT m=20", "PT", 0.8),
    ("DePT m=20 answers faster than PT", REVIEW, "answer", "DePT m=20", "PT", 1 / 1.065),
    ("ADePT folded answers as fast as DePT of its length", EXPECTED, "answer", "ADePT folded", "DePT m=40", 1.05),
    ("ACCEPT trains faster than PT", EXPECTED, "step", "ACCEPT", "PT", 1.0),
)


def main(arguments: Sequence[str]) -> int:
    """Parent: alternate the arms, print tables and verdicts. Child (`--arm`): measure one and print JSON."""
    parser = argparse.ArgumentParser(prog="bench.py efficiency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny T5, few tokens: does it turn?")
    parser.add_argument("--backbones", default=BACKBONES)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--arm", nargs=3, metavar=("BACKBONE", "METHOD", "PADDING"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.arm:
        print(json.dumps(measure(*options.arm, options)))
        return 0
    return table(options)


def table(options: argparse.Namespace) -> int:
    """Measure every arm and print; always 0: a claim that does not hold here is a finding, not an error."""
    from runners.meters import in_child, machine, spread

    passed = [f"--batch={options.batch}", f"--steps={options.steps}", *(["--tiny"] if options.tiny else [])]
    print(machine())
    for backbone in ["tiny_t5"] if options.tiny else options.backbones.split(","):
        for padding in ("fixed", "dynamic"):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
            for _ in range(options.rounds):
                for name in METHODS:
                    found[name].append(in_child(BENCH, ["efficiency", "--arm", backbone, name, padding, *passed]))
            print(f"\n{backbone}, random weights, batch {options.batch}, {padding} padding")
            heads = "".join(f"{head:>25s}" for head in ("ms per step", "MB above model", "answers/s"))
            print(f"{'method':14s} {'parameters':>10s}{heads} of matmul rate")
            for name, runs in found.items():
                cells = [spread([1000 * r["step"] for r in runs]), spread([r["memory"] / 1e6 for r in runs])]
                cells.append(spread([options.batch / r["answer"] for r in runs]))
                share = statistics.median(r["flops"] / r["rate"] for r in runs)
                counted = int(runs[0]["parameters"])
                print(
                    f"{name:14s} {counted:10,d} " + " ".join(f"{cell:>24s}" for cell in cells) + f" {100 * share:.0f} %"
                )
            for line in verdicts(found):
                print(line)
    return 0


def verdicts(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """One line per published claim: the measured ratio and whether it holds on this machine."""
    lines = []
    for claim, source, key, one, other, bound in CLAIMS:
        ratios = [a[key] / b[key] for a, b in zip(found[one], found[other], strict=True)]
        ratio = statistics.median(ratios)
        sure = max(ratios) <= bound or min(ratios) > bound
        word = ("holds" if ratio <= bound else "does not hold") if sure else "undecided (the rounds disagree)"
        seen = f"ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), claimed at most {bound:.2f}"
        lines.append(f"  {claim}: {seen}: {word} ({source})")
    return lines


def measure(backbone: str, name: str, padding: str, options: argparse.Namespace) -> dict[str, float]:
    """Time of a training step and of answering a batch, memory above the loaded model, and the matmul rate."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import torch

    from conf.compose import compose, typed
    from conf.paths import cache_root
    from methods import load as methods
    from runners.meters import above_loaded, matmul_rate, repeat
    from runners.optim import build_optimizer

    fixed = 32 if options.tiny else FIXED
    more = ["method.prompt_length=8"] if options.tiny else []
    if options.tiny and name.startswith(("DePT", "ACCEPT")):  # offsets by position
        more.append(f"method.max_source_length={fixed}")
    weights = [] if options.tiny else ["backbone.random_weights=true"]
    config = typed(compose([*METHODS[name], f"backbone={backbone}", "task=superglue/boolq", *weights, *more]))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    from backbones.load import load_backbone
    from backbones.tuned import Tuned

    torch.manual_seed(0)
    frozen = load_backbone(config.backbone, device=device, cache_root=cache_root(config))
    rate = matmul_rate(device)
    length = config.method.get("prompt_length") or 0
    rows = 0.1 * torch.randn(length, frozen.facts.width) if config.method.get("init") and length else None
    tuned = Tuned(frozen, methods.build(config.method, frozen.facts, rows, torch.Generator().manual_seed(0))).to(device)
    examples = made_up(options.batch, fixed, frozen.facts.vocab, padding == "fixed")
    batch = frozen.collate(examples).to(device)
    ranked = frozen.collate(examples, candidates=True).to(device)
    optimizer = build_optimizer(tuned.trainable(), dict(config.method["lr"]), config.runner.optimizer)

    def step() -> None:
        losses, counts = tuned.losses(batch)
        (losses.sum() / counts.sum()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    tuned.train()
    with above_loaded(device) as memory:
        taken = repeat(step, device, options.steps)
    tuned.eval()
    if name == "ADePT":
        tuned.fold = lambda method, table: method  # type: ignore[assignment, misc]  # evaluation folds by itself
    answered = repeat(lambda: _ask(tuned, ranked), device, options.steps)
    slots = length * options.batch
    seconds = statistics.median(taken)
    return {
        "step": seconds, "answer": statistics.median(answered), "memory": memory.above, "rate": rate,
        "flops": 4 * products(frozen, examples, slots) / seconds, "parameters": tuned.counts()["method"],
    }  # fmt: skip


def products(frozen: Any, examples: Sequence[Any], slots: int) -> float:
    """Multiplications by frozen weights in one forward; a training step costs 4 operations each (2 forward, 2 for the
    gradient of the activations; the frozen weights have none)."""
    source, target = (sum(len(getattr(e, name)) for e in examples) for name in ("source", "target"))
    matrices = {n: p.numel() for n, p in frozen.model.named_parameters() if p.dim() == 2 and "embed" not in n}
    matrices = {n: size for n, size in matrices.items() if "shared" not in n and "lm_head" not in n}
    if not frozen.facts.traits.encoder_decoder:
        return sum(matrices.values()) * (source + target + slots)
    seen = {n: source + slots if n.startswith("encoder") or "EncDecAttention.k" in n or "EncDecAttention.v" in n
            else target for n in matrices}  # fmt: skip
    return sum(size * seen[n] for n, size in matrices.items())


def _ask(tuned: Any, batch: Any) -> None:
    tuned.rank(batch)


def made_up(count: int, longest: int, vocab: int, fixed: bool) -> list[Any]:
    """Random token ids: all `longest` long, or spread from a quarter of it on (seeded, so equal for all arms)."""
    import random

    from tasks.encode import Encoded

    draw = random.Random(0)
    lengths = [longest if fixed else draw.randint(longest // 4, longest // 2) for _ in range(count)]
    choices = [[5, 1], [6, 1]]
    return [
        Encoded(
            str(i), source=[draw.randrange(3, vocab) for _ in range(length)], target=choices[i % 2], choices=choices
        )
        for i, length in enumerate(lengths)
    ]
