"""`make compare METHOD=my_pt`: a method of yours on the CPU subset of offline_v1, set into its table with significance.

    python scripts/compare.py METHOD=<name | file.py> [TASKS=reviews,filings] [key=value ...]

The method gets what the others had: two trials from its own space, three seeds, the same rows. The others' runs come
from your ledger and, where they are committed, from results/offline_v1; without either, the rows that lack are named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

PAPER = "offline_v1"
TASKS = ("reviews", "filings")


@command
def main(arguments: Sequence[str]) -> int:
    """Run what is missing of the method, then print each table and the method's differences; the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    from conf.choices import take_folders
    from conf.resolve import ConfigError

    try:
        arguments = take_folders(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    given = dict(word.split("=", 1) for word in arguments if word.startswith(("METHOD=", "TASKS=")))
    tasks = given.get("TASKS", ",".join(TASKS)).split(",")
    if "METHOD" not in given or set(tasks) - set(TASKS):
        print(__doc__, file=sys.stderr)
        return 2
    extra = [a for a in arguments if not a.startswith(("METHOD=", "TASKS="))]
    chosen = chosen_by(given["METHOD"])
    from runners.sweep import main as sweep

    codes = [sweep([f"experiment={PAPER}", f"budget={task}", *chosen, *extra]) for task in tasks]
    root = next((a.removeprefix("ledger.root=") for a in extra if a.startswith("ledger.root=")), None)
    for task, code in zip(tasks, codes, strict=True):
        if code == 0:
            show(task, given["METHOD"], root)
    return max(codes)


def chosen_by(method: str) -> list[str]:
    """Overrides that choose a method by its name or its file."""
    if method.endswith(".py"):
        return ["method=own", f"method.path={Path(method).expanduser().resolve()}"]
    return [f"method={method}"]


def show(task: str, method: str, root: str | None) -> None:
    """Print one table with the method in it, and what it is significantly different from."""
    from results.archive import with_archive
    from results.records import read_runs
    from results.tables.contests import against
    from results.tables.layout import RowSpec, load
    from results.tables.render import render

    name = "own" if method.endswith(".py") else method.split("/")[0]
    where = {"method": name} | ({"method.path": str(Path(method).expanduser().resolve())} if name == "own" else {})
    layout = load(PAPER, task)
    label = f"{Path(method).stem if name == 'own' else method} (yours)"
    table, contests, untested = against(layout, with_archive(read_runs(root), PAPER), RowSpec(label, where))
    print(f"\n{render(table, 'markdown')}")
    for contest in contests:
        word = "significantly different" if contest.significant else "not significantly different"
        print(
            f"{label} less {contest.other}: {contest.value:+.1f} points [{contest.low:+.1f}, {contest.high:+.1f}], "
            f"p = {contest.p:.3f} (Holm): {word}"
        )
    if untested:
        print("not tested: " + "; ".join(f"{other} ({reason})" for other, reason in untested.items()))
    if not contests:
        print(f"the others' runs: python run.py -m experiment={PAPER} budget=cpu (two and a half hours on 2 cores)")


if __name__ == "__main__":
    import run  # noqa: F401  sets what a process of ours wants of its libraries

    sys.exit(main(sys.argv[1:]))
