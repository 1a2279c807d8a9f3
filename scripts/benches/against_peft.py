"""`make bench`: this project against PEFT with the Transformers Trainer, on one model, data, batch and number of steps.

    python scripts/bench.py peft [--tiny] [--steps 20] [--rounds 3] [key=value ...]

Three arms, alternating, each in a child process of its own: `ours`; `plain`, PEFT and Trainer as their documentation
shows them (right padding to the longest of a batch, loss over all positions' logits, candidates scored one by one in
the set's order); `tuned`, the same by someone who knows them (logits_to_keep, grouping by length in training and
scoring, the same precision and attention). Before that, all arms take the same steps on the same batches, and their
losses must be equal to 1e-4. The last line has the ratios: above 1 is faster, and less memory below 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from scripts.benches import BENCH
from scripts.benches.steps import timed_steps

ARMS = ("ours", "plain", "tuned")
BATCH = 16
LR = 0.01  # small enough that rounding does not grow beyond 1e-4 within the equal steps
SETTINGS = [
    "method=pt", "method.prompt_length=20", "task=demo/movie_reviews", "backbone=smollm2_135m", "runner=demo",
    f"runner.batch_size={BATCH}", f"runner.eval_batch_size={BATCH}", f"method.lr.prompt={LR}",
    "runner.schedule.name=constant", "runner.schedule.warmup_steps=0",
]  # fmt: skip
TINY = ["backbone=tiny_llama", "data=fixture"]


def main(arguments: Sequence[str]) -> int:
    """Parent: alternate the arms and sum up. Child (`--arm`): measure one arm and print JSON."""
    parser = argparse.ArgumentParser(prog="bench.py peft", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a tiny random model on fixture rows: does it turn?")
    parser.add_argument("--steps", type=int, default=20, help="training steps per round")
    parser.add_argument("--rows", type=int, default=320, help="rows scored per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args(arguments)
    overrides = [*SETTINGS, *(TINY if options.tiny else []), f"runner.test_rows={options.rows}", *options.overrides]
    if options.arm:
        print(json.dumps(Arm(options.arm, overrides, options.steps).measure(options.check)))
        return 0
    return compare(options)


def compare(options: argparse.Namespace) -> int:
    """Run all arms, print what was found; 1 if the losses differ."""
    from runners.meters import in_child, machine, spread

    passed = [f"--steps={options.steps}", f"--rows={options.rows}", *(["--tiny"] if options.tiny else [])]
    checks = {arm: in_child(BENCH, ["peft", "--arm", arm, "--check", *passed, *options.overrides]) for arm in ARMS}
    apart = max(
        abs(one - other)
        for arm in ARMS[1:]
        for one, other in zip(checks["ours"]["losses"], checks[arm]["losses"], strict=True)
    )
    found, rates = _rounds(options, passed)
    rate = statistics.median(rates)
    print(machine())
    print(f"matrix products: {spread([r / 1e9 for r in rates])} GFLOP/s; {options.rounds} rounds, medians (range)\n")
    columns = {
        "train_rate": "training, examples/s",
        "eval_rate": "evaluation, examples/s",
        "train_memory": "training, MB above model",
        "eval_memory": "evaluation, MB above model",
        "total_memory": "MB in all",
    }
    for key, title in columns.items():
        scale = 1e6 if "memory" in key else 1
        cells = "   ".join(f"{arm} {spread([run[key] / scale for run in found[arm]])}" for arm in ARMS)
        print(f"{title:28s} {cells}")
    for key, title in (("train_flops", "training"), ("eval_flops", "evaluation")):
        cells = "   ".join(f"{arm} {100 * median(found[arm], key) / rate:.0f} %" for arm in ARMS)
        print(f"{title + ' of that matmul rate':28s} {cells}   (work that any implementation must do)")
    same = {
        arm: sum(a == b for a, b in zip(found["ours"][0]["answers"], found[arm][0]["answers"], strict=True))
        for arm in ARMS
    }
    print(f"\nlosses of {len(checks['ours']['losses'])} equal steps differ by at most {apart:.1e}")
    print(f"answers equal to ours: plain {same['plain']}, tuned {same['tuned']} of {len(found['ours'][0]['answers'])}")
    parts = {
        "train_ratio": ratios(found, "train_rate", "plain"),
        "eval_ratio": ratios(found, "eval_rate", "plain"),
        "memory_ratio": ratios(found, "train_memory", "plain"),
        "tuned_train_ratio": ratios(found, "train_rate", "tuned"),
        "tuned_eval_ratio": ratios(found, "eval_rate", "tuned"),
    }
    print("ratios by round: " + "   ".join(f"{name} {spread(values)}" for name, values in parts.items()))
    print(" ".join(f"{name}={statistics.median(values):.2f}" for name, values in parts.items()))
    return 0 if apart <= 1e-4 else 1


def _rounds(options: argparse.Namespace, passed: Sequence[str]) -> tuple[dict[str, list[dict[str, Any]]], list[float]]:
    """What every round measured, by arm (each begins another round), and the rates of matrix products before them."""
    import torch

    from runners.meters import in_child, matmul_rate

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    rates = []
    for number in range(options.rounds):
        rates.append(matmul_rate(device))
        for arm in ARMS[number % 3 :] + ARMS[: number % 3]:
            found[arm].append(in_child(BENCH, ["peft", "--arm", arm, *passed, *options.overrides]))
    return found, rates


def median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def ratios(found: dict[str, list[dict[str, Any]]], key: str, other: str) -> list[float]:
    """Ours over the other arm's, round by round."""
    return [ours[key] / theirs[key] for ours, theirs in zip(found["ours"], found[other], strict=True)]


class Arm:
    """One arm in this process: the frozen model and the data are loaded alike for all, then it trains and scores."""

    def __init__(self, name: str, overrides: Sequence[str], steps: int) -> None:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch

        from conf.compose import compose, typed
        from runners.assemble import assemble
        from runners.data import load_data
        from runners.order import BatchOrder
        from runners.workers import Workers

        self.name, self.steps, self.config = name, steps, typed(compose(overrides))
        self.workers = Workers(self.config.runner)
        torch.manual_seed(0)
        with redirect_stdout(sys.stderr):  # what the data say of themselves is no result
            self.parts = assemble(self.config, self.workers.device, load_data(self.config))
        self.train, self.test = self.parts.splits["train"], self.parts.splits["test"]
        self.order = BatchOrder(self.train.lengths, BATCH, 1, by_length=name != "plain")

    def batches(self, check: bool) -> list[list[int]]:
        """Indices of every step's batch; in a check the same for every arm."""
        from runners.order import BatchOrder

        order = BatchOrder(self.train.lengths, BATCH, 2) if check else self.order
        wanted, found, step = 8 if check else self.steps + 2, [], 0
        while len(found) < wanted:  # an epoch's last batch may be smaller: the Trainer would slice the rest elsewhere
            found += [batch] if len(batch := order.batch(step)) == BATCH else []
            step += 1
        return found

    def measure(self, check: bool) -> dict[str, Any]:
        """Losses of the equal steps, or speed and memory."""
        from runners.meters import above_loaded

        device, batches = self.workers.device, self.batches(check)
        trainer: Any = self.ours if self.name == "ours" else self.theirs
        with above_loaded(device) as training:
            losses, seconds, counted = trainer(batches)
        if check:
            return {"losses": losses}
        if (
            self.name == "ours"
        ):  # the first call loads the metric's library, which is neither speed nor memory of scoring
            from runners.evaluate import Answer

            warm = self.evaluator()
            warm.answer(self.test, [0, 1])
            warm.evaluation(self.test, [Answer(example.target) for example in self.test.examples], 1.0)
        with above_loaded(device) as scoring:
            answers, eval_seconds = self.score_ours() if self.name == "ours" else self.score_theirs()
        examples = len(self.test.examples)
        return {
            "train_rate": sum(map(len, counted)) / seconds,
            "eval_rate": examples / eval_seconds,
            "train_memory": training.above,
            "eval_memory": scoring.above,
            "total_memory": max(training.total, scoring.total),
            "train_flops": sum(self.work(self.train, i, 4) for batch in counted for i in batch) / seconds,
            "eval_flops": sum(self.work(self.test, i, 2) for i in range(examples)) / eval_seconds,
            "answers": answers,
        }

    def work(self, split: Any, index: int, per_weight: int) -> float:
        """Operations that an example needs whoever runs it: its real tokens through the layers, its answer's through
        the head (2 forward, and 2 backward without gradients of the frozen weights)."""
        facts, encoded = self.parts.tuned.backbone.facts, split.encoded[index]
        head = facts.width * facts.vocab
        body = self.parts.tuned.counts()["backbone"] - head
        return per_weight * (body * (len(encoded.source) + len(encoded.target)) + head * len(encoded.target))

    def ours(self, batches: list[list[int]]) -> tuple[list[float], float, list[list[int]]]:
        """The runner's own step: (losses, seconds, batches that were timed); the first two warm up."""
        rates = dict(self.config.method["lr"])
        losses, seconds, _ = timed_steps(
            self.parts.tuned, self.train, batches, self.config.runner, rates, self.workers, self.train.lengths, warm=2
        )
        return losses, seconds, batches[2:]

    def evaluator(self) -> Any:
        from runners.evaluate import Evaluator

        return Evaluator(self.parts.tuned, self.config.task, self.config.protocol, self.config.runner, self.workers)

    def score_ours(self) -> tuple[list[str], float]:
        from runners.meters import clock

        evaluator = self.evaluator()
        begun = clock(self.workers.device)
        found = evaluator(self.test)
        return [str(p.prediction) for p in found.predictions], clock(self.workers.device) - begun

    def theirs(self, batches: list[list[int]]) -> tuple[list[float], float, list[list[int]]]:
        """PEFT's prompt tuning in the Transformers Trainer."""
        from scripts.benches.peft_arm import peft_model, train

        self.peft = peft_model(self.parts.tuned)
        return train(self.peft, self.parts.tuned.backbone.tokenizer, self.train, batches, self.name == "tuned", LR)

    def score_theirs(self) -> tuple[list[str], float]:
        from runners.evaluate import Split
        from scripts.benches.peft_arm import score

        tokenizer, tuned = self.parts.tuned.backbone.tokenizer, self.name == "tuned"
        score(self.peft, tokenizer, Split("warm", self.test.examples[:2], self.test.encoded[:2]), 4, tuned)  # type: ignore[arg-type]
        return score(self.peft, tokenizer, self.test, 2 * BATCH, tuned)
