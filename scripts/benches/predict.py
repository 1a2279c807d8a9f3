"""One frozen model for many tasks: rows of K tasks in one batch against the tasks one after another.

    python scripts/bench.py predict [backbone=smollm2_135m] [rows=32] [tasks=1,4,16] [rounds=3]

`rows` rows wait, in turn of one of K tasks, each with a prompt of 20 vectors of its own (their values do not matter for
speed). Mixed they are one batch; one after another they are K batches of rows / K. Examples per second of processor
time on one thread (so that other work on the machine counts little), the median of the rounds and their range; both
ways alternate, and their answers must be the same.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

GIVEN = {"backbone": "smollm2_135m", "rows": "32", "tasks": "1,4,16", "rounds": "3"}


def members(backbone: str, count: int, shared: list[Any]) -> list[Any]:
    """What answers for `count` runs that were never trained, all on one backbone."""
    from backbones.tuned import Tuned
    from conf.compose import compose, typed
    from runners.assemble import build_method
    from runners.last_backbone import admitted_backbone
    from runners.workers import DTYPES
    from scripts.predict import Answerer

    made = []
    for number in range(count):
        words = ["task=demo/movie_reviews", f"backbone={backbone}", "method.prompt_length=20", f"seed={number}"]
        config = typed(compose([*words, "method.init=uniform"]))
        if not shared:
            shared.append(admitted_backbone(config, DTYPES[config.runner.precision], "cpu"))
        tuned = Tuned(shared[0], build_method(config, shared[0])).eval()
        made.append(Answerer(SimpleNamespace(config=config, tuned=tuned, run=SimpleNamespace(id=f"run{number}"))))
    return made


def rates(answerers: list[Any], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Examples per second of every round, by way."""
    from scripts.predict_many import RunsTogether

    count = len(answerers)
    owners = [i % count for i in range(len(texts))]
    examples = [
        answerers[o].of_row({"text": text}, f"row {i}") for i, (o, text) in enumerate(zip(owners, texts, strict=True))
    ]
    whole, each = RunsTogether(answerers, "task"), [RunsTogether([one], "task") for one in answerers]

    def mixed() -> list[Any]:
        return whole.answers(examples, owners)

    def one_after_another() -> list[Any]:
        found: list[Any] = [None] * len(texts)
        for member, own in enumerate(each):
            places = [i for i, owner in enumerate(owners) if owner == member]
            for place, told in zip(places, own.answers([examples[i] for i in places], [0] * len(places)), strict=True):
                found[place] = told
        return found

    ways: dict[str, Callable[[], list[Any]]] = {"mixed": mixed, "one after another": one_after_another}
    if [told[0] for told in mixed()] != [told[0] for told in one_after_another()]:  # and both are warm
        raise SystemExit("the two ways give other answers")
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            begun = time.process_time()
            run()
            found[way].append(len(texts) / (time.process_time() - begun))
    return found


def main(arguments: Sequence[str]) -> int:
    """Print the table; 2 where the arguments are wrong."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    given = GIVEN | dict(word.split("=", 1) for word in arguments if "=" in word)
    if set(given) != set(GIVEN) or any("=" not in word for word in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    import torch

    generated = [f"film number {i} is {'fine' if i % 3 else 'a bore'} and {'long ' * (i % 7)}over" for i in range(999)]
    torch.set_num_threads(1)
    shared: list[Any] = []
    print(
        "| tasks | mixed, examples/s | one after another, examples/s | mixed against the other |\n|---:|---:|---:|---:|"
    )
    for count in map(int, given["tasks"].split(",")):
        seen = rates(members(given["backbone"], count, shared), generated[: int(given["rows"])], int(given["rounds"]))
        middle = {way: statistics.median(values) for way, values in seen.items()}
        cells = [f"{middle[way]:.1f} ({min(values):.1f} to {max(values):.1f})" for way, values in seen.items()]
        ratio = middle["mixed"] / middle["one after another"]
        print(f"| {count} | {cells[0]} | {cells[1]} | {ratio:.2f}x |", flush=True)
    return 0
