"""K learning rates packed, against K separate starts of run.py and against K in one process.

    python scripts/bench.py packed                         K = 8 on two T5 shapes and on smollm2_135m, three ways
    python scripts/bench.py packed --curve 1 2 4 8 16      packed against one process for several K
    python scripts/bench.py packed --backbone t5_small --override runner.max_steps=8

Every way trains the same runs (the same ids) into ledgers of its own, in a fresh process, and is timed whole: start-up,
data, training, scores. The table gives seconds and how many times as fast as packed each way is. Nothing else should
run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.benches import BENCH

SHAPES = {
    # overhead rules: a T5 of width 256 with 4 + 4 layers, random weights, short sources
    "t5_mini": [
        "backbone=t5_small", "backbone.random_weights=true", "runner.max_source_length=32", "method.prompt_length=10",
        "backbone.facts.width=256", "backbone.facts.layers=4", "backbone.facts.decoder_layers=4",
        "backbone.facts.heads=4", "backbone.facts.kv_heads=4", "backbone.facts.ffn=1024",
    ],
    # random weights of T5-small's shape, short sources: two cores are busy with one run's batch already
    "t5_small": [
        "backbone=t5_small", "backbone.random_weights=true", "runner.max_source_length=32", "method.prompt_length=10",
    ],
    # two cores are full already at a batch of 8
    "smollm2_135m": ["backbone=smollm2_135m", "runner.max_source_length=64", "method.prompt_length=20"],
    "tiny_t5": ["backbone=tiny_t5", "runner.max_source_length=32", "method.prompt_length=5"],
}  # fmt: skip
COMMON = [
    "method=pt", "task=demo/movie_reviews", "runner=smoke", "runner.max_steps=24", "runner.eval_every=24",
    "runner.batch_size=8", "runner.train_rows=256", "runner.validation_rows=32", "runner.test_rows=32",
    "runner.evaluate_untrained=false",
]  # fmt: skip
WAYS = ("separate starts", "one process", "packed")


@dataclass
class Timing:
    """Seconds of K runs done one way."""

    shape: str
    runs: int
    way: str
    seconds: float


def rates(count: int) -> list[str]:
    """`count` learning rates, from 0.1 upwards on a logarithmic scale."""
    return [f"{0.1 * 1.25**i:.4g}" for i in range(count)]


def time_way(shape: str, way: str, count: int, overrides: list[str]) -> Timing:
    """Train `count` runs one way into an empty ledger.

    Raises:
        RuntimeError: a run did not end well; the message has its last lines.
    """
    with tempfile.TemporaryDirectory() as root:
        common = [*COMMON, *SHAPES[shape], *overrides, f"ledger.root={root}"]
        sweep = ["-m", *common, f"method.lr.prompt={','.join(rates(count))}"]
        commands = [[*common, f"method.lr.prompt={rate}"] for rate in rates(count)]
        if way != "separate starts":
            commands = [sweep + (["hydra/launcher=packed", f"pack={count}"] if way == "packed" else [])]
        begun = time.monotonic()
        for command in commands:
            done = subprocess.run(
                [sys.executable, str(BENCH.parents[1] / "run.py"), *command],
                cwd=BENCH.parents[1], env=os.environ | {"HF_HUB_OFFLINE": "1"},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{shape}, {way}: run.py ended with {done.returncode}\n{done.stderr[-2000:]}")
        seconds = time.monotonic() - begun
        records = [json.loads(path.read_text()) for path in Path(root).glob("*/record.json")]
        assert len(records) == count, f"{len(records)} records of {count}"
        assert way != "packed" or count == 1 or all(r["packed"]["size"] == count for r in records)
    return Timing(shape, count, way, seconds)


def measure(shapes: list[str], counts: list[int], ways: list[str], overrides: list[str]) -> list[Timing]:
    """Every combination, with a line of progress each."""
    found = []
    for shape in shapes:
        for count in counts:
            for way in ways:
                found.append(time_way(shape, way, count, overrides))
                print(f"{shape} K={count} {way}: {found[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def table(timings: list[Timing]) -> str:
    """Markdown: seconds by way, and how many times as long as packed they took."""
    ways = [way for way in WAYS if any(t.way == way for t in timings)]
    others = [way for way in ways if way != "packed"]
    head = ["backbone", "K", *(f"{way} (s)" for way in ways), *(f"packed against {way}" for way in others)]
    rows = [head, ["---"] * len(head)]
    for shape, runs in dict.fromkeys((t.shape, t.runs) for t in timings):
        seconds = {t.way: t.seconds for t in timings if (t.shape, t.runs) == (shape, runs)}
        ratios = [f"{seconds[way] / seconds['packed']:.2f}x" if "packed" in seconds else "" for way in others]
        rows.append([shape, str(runs), *(f"{seconds[way]:.1f}" for way in ways), *ratios])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bench.py packed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--backbone", nargs="+", choices=sorted(SHAPES), default=["t5_mini", "t5_small", "smollm2_135m"]
    )
    parser.add_argument("--runs", type=int, default=8, help="K of the comparison of all three ways")
    parser.add_argument("--curve", type=int, nargs="+", default=[], help="K of packed against one process")
    parser.add_argument("--override", nargs="+", default=[], help="further overrides of run.py")
    parser.add_argument("--json", type=Path, help="where to write the timings")
    chosen = parser.parse_args(arguments)
    if chosen.curve:
        timings = measure(chosen.backbone, chosen.curve, ["one process", "packed"], chosen.override)
    else:
        timings = measure(chosen.backbone, [chosen.runs], list(WAYS), chosen.override)
    print(table(timings))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(t) for t in timings], indent=2) + "\n")
    return 0
