"""What the shipped methods, tasks and protocols give on fixed inputs, in numbers and texts that are stored.

`scripts/ship.py` and a test hold them against `results/shipped/numbers.json` (1e-5): where one moves, the version of
the method, the task, the protocol or the backbone must be raised, for runs of before must not stand for runs of now.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conf.choices import groups
from conf.compose import compose, typed
from conf.resolve import ConfigError

BACKBONES = ("tiny_llama", "tiny_t5", "tiny_bert")
TASK, SCORED = "superglue/cb", 3
SMALL = {
    "prompt_length": 4, "prefix_length": 3, "rank": 2, "max_source_length": 64,
    "mlp_width": 8, "bottleneck": 4, "hidden": 8,
}  # fmt: skip
UNTRAINED = ("none", "majority", "own", "spot")  # spot is pt started from another run
ALL_PROTOCOLS = (
    "glue/rte",
    "superglue/multirc",
    "ner/conll2003",
    "mrqa/squad",
)  # tasks that are read under every protocol
VERSIONED = ("method", "task", "protocol", "backbone", "runner")
TOLERANCE = 1e-5

Entry = dict[str, Any]  # {"versions": {group: int}, "values": numbers or {name: number or text}}


def differs(stored: Any, now: Any) -> bool:
    """Whether values moved: numbers by more than 1e-5 (relative above 1), anything else at all."""
    if isinstance(stored, list) and isinstance(now, list):
        return len(stored) != len(now) or any(differs(s, n) for s, n in zip(stored, now, strict=True))
    if isinstance(stored, dict) and isinstance(now, dict):
        # what is measured besides (a metric that came later) moves nothing
        return bool(set(stored) - set(now)) or any(differs(stored[key], now[key]) for key in stored)
    if isinstance(stored, int | float) and isinstance(now, int | float):
        return abs(stored - now) > TOLERANCE * max(1.0, abs(stored))
    return bool(stored != now)


def verdict(stored: Entry | None, now: Entry) -> str | None:
    """Why an entry cannot be taken as it stands; None where it can."""
    if stored is None or not differs(stored["values"], now["values"]):
        return None
    raised = [key for key, value in now["versions"].items() if value > stored["versions"].get(key, 0)]
    if raised:
        return None
    at = ", ".join(f"{key}.version={value}" for key, value in now["versions"].items())
    return f"its numbers have moved: raise the version of what you changed ({at} now)"


def methods() -> list[str]:
    """The shipped methods that train something, as the option `method=` has them (no presets)."""
    return [name for name in groups()["method"] if "/" not in name and name not in UNTRAINED]


def of_method(method: str, backbone: str) -> Entry | None:
    """A loss, its gradients and some scores of a method on a tiny backbone; None where the pair is refused.

    The tensors are moved off their start first: some start at zero, where much of an equation cannot be seen.
    """
    import torch

    from runners.assemble import assemble
    from runners.data import load_data
    from runners.evaluate import answering
    from runners.problems import problems_of

    config, resolved = _small(method, backbone)
    if problems_of(config):
        return None
    torch.manual_seed(0)
    with redirect_stdout(io.StringIO()):
        parts = assemble(config, torch.device("cpu"), load_data(config))
    how, tuned, split = (
        answering(config.task, config.protocol, config.backbone.family),
        parts.tuned,
        parts.splits["train"],
    )
    start = sum(float(tensor.double().abs().sum()) for tensor in tuned.state().values())
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in (p for group in tuned.trainable().values() for p in group.values()):
            parameter += (0.01 if method == "full" else 0.1) * torch.randn(parameter.shape, generator=generator)
    encoded = [split.encoded[i] for i in range(SCORED)]
    losses, _ = tuned.eval().losses(tuned.backbone.collate(encoded))
    losses.sum().backward()
    norms = [
        float(torch.stack([p.grad.norm() for p in group.values() if p.grad is not None]).norm())
        for group in tuned.trainable().values()
    ]
    batch = tuned.backbone.collate(encoded, candidates=how == "rank")
    scores = (tuned.rank(batch) if how == "rank" else tuned.classify(batch)).flatten()
    values = {"start": start, "losses": losses.tolist(), "gradients": norms, "scores": scores.tolist()}
    return {"versions": _versions(resolved), "values": _rounded(values)}


def _rounded(value: Any) -> Any:
    """Seven significant digits: what single precision holds, and no more of the machine than that."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value if not isinstance(item, float) or abs(item) != float("inf")]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _small(method: str, backbone: str) -> tuple[Any, dict[str, Any]]:
    """The configuration, with the lengths and ranks of the method made small."""
    base = [f"method={method}", f"task={TASK}", f"backbone={backbone}", "data=fixture", "runner=smoke"]
    base += ["protocol=carved", "runner.device=cpu"]
    known = compose(base)["method"]
    resolved = compose([*base, *(f"method.{k}={v}" for k, v in SMALL.items() if known.get(k) is not None)])
    return typed(resolved), resolved


def of_optimizer(optimizer: str, schedule: str) -> Entry:
    """A small tensor after five steps, with its rates."""
    import torch

    from runners.config import RunnerConfig
    from runners.optim import build_optimizer, factor, set_rates

    runner = RunnerConfig()
    runner.optimizer.name, runner.schedule.name, runner.schedule.warmup_steps = optimizer, schedule, 2
    tensor = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3))
    made = build_optimizer({"prompt": {"prompt": tensor}}, {"prompt": 0.3}, runner.optimizer)
    seen = []
    for step in range(5):
        (tensor - torch.linspace(0, 3, 3)).pow(2).sum().backward()
        set_rates(made, factor(step, 5, runner.schedule, 2))
        made.step()
        made.zero_grad()
        seen.append(made.param_groups[0]["lr"])
    return {"versions": {"runner": runner.version}, "values": _rounded([*seen, *tensor.flatten().tolist()])}


def of_task(task: str, protocol: str) -> Entry | None:
    """A digest of every example by family, and the metrics of scripted predictions; None where that is refused."""
    from tasks.answers import reference_of
    from tasks.errors import DataError
    from tasks.metrics import Prediction, score
    from tasks.task import load_task

    try:
        resolved = compose([f"task={task}", f"protocol={protocol}", "data=fixture"])
    except ConfigError:
        return None
    config, values = typed(resolved), {}
    for family in config.task.families:
        try:
            with redirect_stdout(io.StringIO()):
                data = load_task(config.task, config.protocol, config.data, family=family, seed=42, cache_root="unused")
        except DataError as error:
            values[family] = f"refused: {str(error)[:60]}"
            continue
        rows = {role: [_told(example) for example in examples] for role, examples in data.splits.items()}
        values[family] = hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:16]
        examples = list(data.splits.get("validation") or next(iter(data.splits.values())))
        references = [reference_of(config.task, example) for example in examples]
        answers = [_first(reference) for reference in references[1:] + references[:1]]
        predictions = [
            Prediction(example.id, answer, reference, example.group)
            for example, answer, reference in zip(examples, answers, references, strict=True)
        ]
        values |= {
            f"{family} {name}": value for name, value in score(config.task, config.protocol, predictions).items()
        }
    return {"versions": _versions({k: resolved[k] for k in ("task", "protocol")}), "values": _rounded(values)}


def _first(reference: Any) -> Any:
    """An answer of the form that a reference has: of several texts the first."""
    many = isinstance(reference, dict) and "answers" in reference
    return reference["answers"][0] if many else reference


def _told(example: Any) -> dict[str, Any]:
    """An example as it is hashed; fields that came later are left out while they are empty."""
    return {key: value for key, value in asdict(example).items() if value or key not in ("names",)}


def _versions(resolved: dict[str, Any]) -> dict[str, int]:
    return {group: int(resolved[group].get("version", 1)) for group in VERSIONED if group in resolved}


def entries() -> Iterator[tuple[str, Any]]:
    """Every name with the function that measures it."""
    for method in methods():
        for backbone in BACKBONES:
            yield f"method {method} on {backbone}", lambda m=method, b=backbone: of_method(m, b)
    for optimizer in ("adamw", "adafactor"):
        for schedule in ("linear", "constant", "exponential"):
            yield f"optimizer {optimizer}, schedule {schedule}", lambda o=optimizer, s=schedule: of_optimizer(o, s)
    for task in groups()["task"]:
        if (Path(__file__).parents[1] / "tasks" / "fixtures" / f"{task}.jsonl").exists():
            for protocol in groups()["protocol"] if task in ALL_PROTOCOLS else ["carved"]:
                yield f"task {task} under {protocol}", lambda t=task, p=protocol: of_task(t, p)
