"""One thing in one place: what a family can do, what a kind of task needs, a metric with its sums."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.records import read_runs
from results.tables.build import build
from results.tables.layout import parse
from results.tables.render import render
from runners.verdicts import standard_error
from tasks.columns import Columns
from tasks.errors import DataError
from tasks.families import FAMILIES, family
from tasks.kinds import KINDS, Kind, kind_of
from tasks.metrics import METRICS, Prediction, metric, of_nature, score, sums_of
from tasks.sums import Sums
from tests.tasks_rig import TASKS, protocol_of, task_of
from tests.unit.results_fixtures import write_run

ROOT = Path(__file__).resolve().parents[2]
OURS = ("backbones", "conf", "hydra_plugins", "methods", "results", "runners", "scripts", "tasks")


def sources() -> list[Path]:
    found = [path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py"))] + [ROOT / "run.py"]
    return [path for path in found if "runs" not in path.relative_to(ROOT).parts]


def compared(path: Path, words: set[str]) -> Iterator[int]:
    """Lines that compare something with one of the words, or look for it among some of them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            parts = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            if any(isinstance(part, ast.Constant) and part.value in words for part in parts):
                yield node.lineno
                break


def test_only_the_table_of_kinds_knows_their_names() -> None:
    found = []
    for path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [
            f"{path.relative_to(ROOT).as_posix()}:{number}: {lines[number - 1].strip()}"
            for number in compared(path, set(KINDS))
        ]
    assert not found, "\n".join(["ask tasks.kinds what a kind needs, instead of its name:", *found])


# not a family's name: a module, a stack of layers, the special tokens of a tokenizer, the type in a config.json
NOT_A_FAMILY = {
    "backbones/specimens.py": "model_type",
    "backbones/tiny_tokenizer.py": "face",
    "backbones/prefix.py": "stack",
}


def test_only_the_table_of_families_knows_their_names() -> None:
    found = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in compared(path, set(FAMILIES)):
            if "stack" not in lines[number - 1] and NOT_A_FAMILY.get(name, "\n") not in lines[number - 1]:
                found.append(f"{name}:{number}: {lines[number - 1].strip()}")
    assert not found, "\n".join(["ask tasks.families what a family can do, instead of its name:", *found])


def test_a_comparison_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("if a.family == 't5':\n    pass\nb = c in ('llama', 'encoder')\nd = family.writes\n")
    assert list(compared(file, set(FAMILIES))) == [1, 3]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_its_engine_does(name: str) -> None:
    from backbones.base import Backbone
    from backbones.engine import engine_of

    traits = family(name)
    engine = engine_of(name)
    for question in ("losses", "rank", "generate", "classify", "tag"):
        assert (getattr(engine, question) is not getattr(Backbone, question)) == (question in traits.asks), question
    assert traits.stack_of("encoder.block.3") in traits.stacks and traits.stack_of("x.decoder") in traits.stacks


def test_an_unknown_family_is_told() -> None:
    with pytest.raises(ValueError, match="t5, llama, encoder"):
        family("mamba")


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_of_a_task_is_registered_for_its_kind(name: str) -> None:
    task = task_of(name)
    known = METRICS[kind_of(task).reads]
    wanted = {*task.metrics, *task.mean_of, *task.select_metric.values(), *task.report_metric.values()} - {"mean"}
    assert wanted <= set(known) and set(kind_of(task).also) <= set(known)
    assert set(kind_of(task).metrics) <= set(known)


def test_a_metric_that_a_kind_lacks_is_told() -> None:
    task = replace(task_of("glue/rte"), metrics=["accuracy", "bleu"])
    with pytest.raises(DataError, match="no metric 'bleu' for classification tasks; there are accuracy, f1"):
        score(task, protocol_of("carved"), [Prediction("a", "0", "0")])


@pytest.fixture
def kappa() -> Iterator[str]:
    """A metric as anybody would add one: a function of the columns, its sums beside it."""

    def table(c: Columns) -> Sums | None:
        terms = np.stack([np.array(c.got) == 1, np.array(c.gold) == 1, c.right, np.ones(len(c.gold))], axis=1)
        return Sums(terms.astype(float), lambda s: agreement(s / s[..., 3:]))

    def agreement(shares: Any) -> Any:
        got, gold, right = (shares[..., i] for i in range(3))
        chance = got * gold + (1 - got) * (1 - gold)
        return (right - chance) / (1 - chance)

    @metric("classes", "kappa", table)
    def cohen(c: Columns) -> float:
        made = table(c)
        assert made is not None
        return float(made.value(made.terms.sum(0)))

    yield "kappa"
    del METRICS["classes"]["kappa"]


def test_a_metric_of_one_function_is_scored_bootstrapped_and_tabulated(kappa: str, tmp_path: Path) -> None:
    from sklearn.metrics import cohen_kappa_score

    task, protocol = replace(task_of("glue/rte"), metrics=[kappa]), protocol_of("carved")
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 2, 300)
    for seed in (1, 2, 3):
        for method, rate in (("pt", 0.35), ("dept", 0.1)):
            got = np.where(rng.random(300) < rate, 1 - gold, gold)
            pairs = [Prediction(str(i), str(g), str(w)) for i, (g, w) in enumerate(zip(got, gold, strict=True))]
            found = score(task, protocol, pairs)
            assert list(found) == [kappa] and found[kappa] == pytest.approx(cohen_kappa_score(gold, got))
            answers, golds = [p.prediction for p in pairs], [p.reference for p in pairs]
            sums = sums_of(kappa, answers, golds, ["0", "1"], task.kind)
            error = standard_error(pairs, kappa, lambda drawn: score(task, protocol, drawn), found[kappa], sums)
            drawn = [cohen_kappa_score(gold[i], got[i]) for i in rng.integers(0, 300, (400, 300))]
            assert error == pytest.approx(np.std(drawn), rel=0.2)
            rows = [{"id": p.id, "prediction": p.prediction, "reference": p.reference} for p in pairs]
            write_run(
                tmp_path, method, "glue/rte", seed, found[kappa], found[kappa], n=300, metric=kappa, predictions=rows,
                config={"task": {"kind": task.kind, "labels": ["a", "b"]}},
            )  # fmt: skip
    spec = {"columns": {"RTE": {"task": "glue/rte", "metric": kappa}},
            "rows": [{"label": name, "where": {"method": name}} for name in ("pt", "dept")]}  # fmt: skip
    table = build(parse("own", "1", spec), read_runs(tmp_path))
    cells = {row.label: row.cells["RTE"] for row in table.rows}
    assert cells["dept"].best and not cells["pt"].best and cells["pt"].value < cells["dept"].value
    assert "RTE" in render(table, "markdown") and "not tested" not in " ".join(table.caption)


def test_metrics_say_what_they_are_once() -> None:
    assert of_nature("proportion") == {"accuracy", "em"} and of_nature("correlation") == {"pearson", "spearman"}
    assert all(one.name == name for found in METRICS.values() for name, one in found.items())


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_says_everything_that_is_asked(name: str) -> None:
    kind = KINDS[name]
    assert kind.reads in METRICS and set(kind.metrics) <= set(METRICS[kind.reads])
    assert kind.head in ("sequence", "choice", "token") and type(kind).example is not Kind.example
