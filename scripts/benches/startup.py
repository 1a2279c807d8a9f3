"""What a command takes before a run begins, and a tiny run whole.

    python scripts/bench.py startup [--rounds 3]

Wall time of fresh processes on a model of a few thousand weights: showing a run's values, planning a sweep of 100
points, a run from its start to its record, and the same run found in the ledger.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from scripts.benches import BENCH

TINY = [
    "method=pt", "task=demo/movie_reviews", "data=fixture", "backbone=tiny_t5", "runner=smoke", "runner.device=cpu",
]  # fmt: skip
COMMANDS = {
    "values of a run (--cfg job)": [*TINY, "--cfg", "job"],
    "plan of 100 points": ["-m", *TINY, f"seed={','.join(map(str, range(100)))}", "plan=true"],
    "a tiny run, new": TINY,
    "a tiny run, in the ledger": TINY,
}


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    from runners.meters import machine, spread

    parser = argparse.ArgumentParser(
        prog="bench.py startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as root:
            for name, words in COMMANDS.items():
                found[name].append(seconds([*words, f"ledger.root={root}"]))
    print(machine())
    for name, taken in found.items():
        print(f"{name:30s} {spread(taken)} s")
    return 0


def seconds(words: Sequence[str]) -> float:
    """Wall time of `python run.py ...`.

    Raises:
        RuntimeError: it did not end well.
    """
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(BENCH.parents[1] / "run.py"), *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"run.py {' '.join(words)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - begun
