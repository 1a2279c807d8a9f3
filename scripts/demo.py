"""`make demo` and `make demo-ner`: real backbones, real data, methods beside what they must beat.

    python scripts/demo.py [ner] [METHODS=all] [key=value ...]

Runs are kept in the ledger: a second start trains nothing and prints the same table.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402

# only PT's run measures the untrained prompt: DePT's offsets are zero at the start, so its own would be the same
ONCE = "runner.evaluate_untrained=false"
DEMO: dict[str, list[str]] = {
    "majority class": ["method=majority"],
    "zero-shot, digits as labels": ["method=none"],
    "zero-shot, words as labels": ["method=none", "protocol.label_words=words", "task.decoder_cue='sentiment:'"],
    "PT": ["method=pt", "method.prompt_length=20"],
    "DePT": ["method=dept", "method.prompt_length=12", "method.rank=6", ONCE],
}
ALL = DEMO | {
    "ADePT": ["method=adept", "method.prompt_length=12", "method.rank=3", ONCE],
    "ACCEPT": ["method=accept", "method.prompt_length=12", "method.budget_vectors=20", ONCE],
    "deep prefix": ["method=prefix", "method.prefix_length=8", ONCE],
    "APT": ["method=apt", "method.prefix_length=8", ONCE],
}
# the top of P-tuning v2's range; the head learns at one rate in every row
RATES = ["method.lr.prefix=0.01", "method.lr.head=0.01"]
NER: dict[str, list[str]] = {"no entity": ["method=majority"]} | {
    f"{name}, seed {seed}": [*overrides, f"seed={seed}"]
    for name, overrides in {
        "head only": ["method=head_only", "method.lr.head=0.01"],
        "deep prefix": ["method=prefix", "method.prefix_length=16", *RATES],
        "APT": ["method=apt", "method.prefix_length=16", "method.lr.gate=0.01", *RATES],
    }.items()
    for seed in (1, 2, 3)
}


@command
def main(arguments: Sequence[str]) -> int:
    """Run what is missing, then print the table and draw the learning curves; returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    from conf.compose import compose
    from conf.resolve import ConfigError
    from runners.job import run_point

    experiment, rows = ("demo_ner", NER) if "ner" in arguments else ("demo", DEMO)
    everything = "METHODS=all" in arguments and experiment == "demo"
    rows = ALL if everything else rows
    extra = [a for a in arguments if a != "ner" and not a.startswith("METHODS=")]
    begun, made = time.monotonic(), 0
    for number, (name, chosen) in enumerate(rows.items(), start=1):
        overrides = [f"experiment={experiment}", *chosen, *extra]
        print(f"[{number}/{len(rows)}] {name}: python run.py {' '.join(overrides)}", flush=True)
        try:
            outcome = run_point(compose(overrides))
        except ConfigError as error:
            print(error, file=sys.stderr)
            return 2
        if outcome.reason and outcome.status != "done":
            print(outcome.reason, file=sys.stderr)
        print(f"      {outcome.line}{' (in the ledger)' if outcome.skipped else ''}", flush=True)
        if outcome.exit_code:
            return outcome.exit_code
        made += not outcome.skipped
    print(
        f"\n{made} runs made, {len(rows) - made} found in the ledger, {time.monotonic() - begun:.0f} s "
        f"(matrix products run at {rate():.0f} GFLOP/s here)\n",
        flush=True,
    )
    return show(experiment, "methods" if everything else "main", extra)


def rate() -> float:
    """GFLOP/s of matrix products on what the runs ran on."""
    import torch

    from runners.meters import matmul_rate

    return matmul_rate(torch.device("cuda" if torch.cuda.is_available() else "cpu")) / 1e9


def show(experiment: str, table: str, extra: Sequence[str]) -> int:
    """The table on standard output; Markdown, CSV, LaTeX and the learning curves under results/<experiment>/."""
    out = ROOT / "results" / experiment
    out.mkdir(exist_ok=True)
    given = (a.removeprefix("ledger.root=") for a in extra if a.startswith("ledger.root="))
    ledger = [f"ledger.root={place(root).resolve()}" for root in given]  # the tables are made in this folder
    tables = [sys.executable, "-m", "results.tables", f"paper={experiment}", f"table={table}", *ledger]
    for form, suffix in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        code = subprocess.run([*tables, f"format={form}", f"out={out / f'table.{suffix}'}"], cwd=ROOT).returncode
        if code:
            return code
    print((out / "table.md").read_text(encoding="utf-8"))
    plot = [sys.executable, "-m", "results.plots", "curves", f"paper={experiment}", f"out={out}", *ledger]
    code = subprocess.run(plot, cwd=ROOT, stdout=subprocess.DEVNULL).returncode
    print("written: " + ", ".join(str(p.relative_to(ROOT)) for p in sorted(out.iterdir())))
    return code


if __name__ == "__main__":
    import run  # noqa: F401  sets what a process of ours wants of its libraries

    sys.exit(main(sys.argv[1:]))
