"""Speed and memory, measured: one command for all that docs/performance.md tells.

    python scripts/bench.py packed      K runs of a sweep in shared passes, against separate starts and one process
    python scripts/bench.py peft        this project against PEFT with the Transformers Trainer
    python scripts/bench.py order       batches cut for their lengths, against whole ones, in the papers' random order
    python scripts/bench.py efficiency  time, memory and answers per second of the methods at an equal budget
    python scripts/bench.py predict     rows of many tasks in one batch, against the tasks one after another
    python scripts/bench.py startup     what a command takes before a run begins

`python scripts/bench.py NAME --help` tells the options; `make bench` runs the first three. Nothing else should run on
the machine meanwhile.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

BENCHES = {
    "packed": "packed", "peft": "against_peft", "order": "order", "efficiency": "efficiency", "predict": "predict",
    "startup": "startup",
}  # fmt: skip


@command
def main(arguments: Sequence[str]) -> int:
    """Run the bench that the first word names; 2 where it names none."""
    name, rest = (arguments[0] if arguments else "", list(arguments[1:]))
    if name in ("-h", "--help"):
        print(__doc__)
        return 0
    if name not in BENCHES:
        print(f"{name or 'nothing'} is no bench: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"scripts.benches.{BENCHES[name]}").main(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
