"""Every experiment of the papers fills its tables: its points as finished runs, each in one row, no cell left over."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conf.compose import compose
from conf.plan import Plan, Point, make_plan
from results.controls import named
from results.records import Reading, Run
from results.tables.build import fill
from results.tables.layout import Layout, load, papers, tables_of
from results.tables.model import Table
from results.tables.state import Options, State
from tasks.config import metric_of
from tasks.kinds import kind_of

CONF = Path(__file__).resolve().parents[2] / "conf/experiment"
FIXTURES = Options(fixtures=True, significance=False)


@dataclass(frozen=True)
class Filling:
    """What an experiment fills.

    Attributes:
        tables: of the paper's layouts.
        others: rows that another experiment, a run of a user's own or nobody's run fills.
        holes: cells without a point in the experiment (row -> columns): the paper has none there.
        sources: tasks that are trained on to be scored elsewhere, with no cell of their own.
        more: overrides that make the grid small without touching what tells rows apart.
    """

    experiment: str
    paper: str
    tables: tuple[str, ...]
    others: tuple[str, ...] = ()
    holes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    more: tuple[str, ...] = ("seed=42",)


OWN = ()  # the experiment's own seeds: they stand in its rows
TABLE_1 = ("Full fine-tuning", "Adapter", "BitFit", "LoRA", "SPoT", "ATTEMPT", "MPT", "ADePT", "ACCEPT")
SUPERGLUE = ("BoolQ", "COPA", "RTE", "WiC", "WSC")
APT_OTHERS = ("FT", "Selective Prefix Tuning")
FILLINGS = [
    Filling("lester/table3", "pt", ("3",), ("PT, best of 5", "PT, vote of 5")),  # of several seeds: a test of their own
    Filling("lester/lengths", "pt", ("lengths",)),
    Filling("lester/initialisations", "pt", ("initialisations",)),
    Filling("lester/sizes", "pt", ("sizes",)),
    Filling("lester/pretraining", "pt", ("pretraining",)),
    Filling("lester/transfer", "pt", ("transfer", "paraphrase"), sources=("glue/qqp", "glue/mrpc")),
    Filling("dept/table1", "dept", ("1",), TABLE_1),
    Filling("dept/table2", "dept", ("2",), TABLE_1),
    Filling(
        "dept/few_shot", "dept", ("fewshot",),
        ("Full fine-tuning", "PT, from a source task", "DePT, from a source task", "ADePT", "ACCEPT"),
    ),
    Filling("dept/lengths", "dept", ("lengths",)),
    Filling("dept/rates", "dept", ("rates",)),
    Filling("dept/sizes", "dept", ("sizes",)),
    Filling("dept/llama2", "dept", ("llama2",)),
    Filling("dept/sources", "dept", ("sources",)),
    Filling("adept/table3", "adept", ("3",), ("Full fine-tuning",)),
    Filling("adept/mrqa", "adept", ("mrqa",), ("Full fine-tuning",)),
    Filling("adept/parts", "adept", ("parts",)),
    Filling("adept/t5_3b", "adept", ("t5_3b",)),
    Filling(
        "accept/table_a1", "accept", ("A1",),
        ("Fine-tuning", "Adapter", "BitFit", "LoRA", "PT (dagger)", "SPoT", "ATTEMPT", "MPT", "TPT"),
    ),
    Filling("accept/parts", "accept", ("parts",)),
    Filling("accept/mrqa", "accept", ("mrqa",)),
    Filling("accept/few_shot", "accept", ("few_shot",), ("ACCEPT, from a source task",)),
    Filling("accept/sizes", "accept", ("sizes",)),
    Filling("accept/codewords", "accept", ("codewords",)),
    Filling(
        "apt/table1", "apt", ("bert_base", "bert_large", "roberta_base", "roberta_large"), APT_OTHERS,
        {"bert_base": ("OntoNotes",), "bert_large": ("CoNLL03",)}, more=OWN,
    ),
    Filling("apt/gates", "apt", ("gates",)),
    Filling("apt/low_resource", "apt", ("low_resource",)),
    Filling(
        "ptuning_v2/readme", "ptuning_v2", ("P1",), (),
        {
            "BERT-large (cased: SuperGLUE)": ("CoNLL03", "CoNLL04", "OntoNotes"),
            "BERT-large (uncased: NER)": (*SUPERGLUE, "CoNLL03"),
        },
        more=OWN,
    ),
]  # fmt: skip
UNREACHABLE = ("dept/released",)  # the authors' files: scored as they are, where somebody has them
QUICK = ("adept/parts", "apt/gates", "dept/llama2", "accept/parts")
EACH = [f if f.experiment in QUICK else pytest.param(f, marks=pytest.mark.slow) for f in FILLINGS]


@cache
def planned(experiment: str, *more: str) -> Plan:
    plan = make_plan([f"experiment={experiment}", "data=fixture", *more])
    assert plan.problems == [] and plan.points
    return plan


def share(*names: Any) -> float:
    """A score that is another one for each run and metric, and the same tomorrow."""
    return 0.3 + int(hashlib.sha256(repr(names).encode()).hexdigest()[:8], 16) / 2**33


def as_record(point: Point, task: Any = None, **more: Any) -> dict[str, Any]:
    """The record of a point that was run on fixture rows; its scores are made up."""
    config, protocol = point.config, point.config.protocol
    task = task or config.task
    names = dict.fromkeys((*task.metrics, *kind_of(task).also))
    scores = {
        split: {name: share(point.run_id, task.name, split, name) for name in names}
        for split in (protocol.select_split, protocol.report_split)
    }
    return {
        "run_id": point.run_id, "status": "done", "reason": None, "method": named(config.method, config.control),
        "task": task.name, "backbone": config.backbone.label, "protocol": protocol.name, "seed": config.seed,
        "fidelity": config.fidelity, "experiment": config.experiment, "config": point.resolved,
        "data": {"source": "fixture", "fixture": True, "sha256": task.name, "rows": {"test": 40, "validation": 40}},
        "trainable_parameters": 76_800, "backbone_parameters": 1_000_000,
        "primary_metric": metric_of(task, protocol, "report"), "primary_split": protocol.report_split,
        "selection": {"split": protocol.select_split, "metric": metric_of(task, protocol, "select")},
        "metrics": scores, "untrained_metrics": {}, "verdicts": [], **more,
    }  # fmt: skip


def runs_of(plan: Plan) -> list[Run]:
    """A plan's points as finished runs; sources of a transfer with what evaluate.py makes of them."""
    runs = [Run(as_record(point), Path()) for point in plan.points]
    away = ("textbookqa", "bioasq", "race", "relation_extraction", "duorc", "drop")
    targets = {"mrqa/squad": [f"mrqa/{name}" for name in away], "glue/qqp": ["glue/mrpc"], "glue/mrpc": ["glue/qqp"]}
    for point in plan.points:
        if point.config.experiment == "lester/transfer":
            runs += [Run(_scored_on(point, task), Path()) for task in targets[point.config.task.name]]
    return runs


def _scored_on(point: Point, target: str) -> dict[str, Any]:
    """As runners/transfer.py writes it."""
    from conf.compose import typed

    asked = compose([f"task={target}", "protocol=lester", "backbone=t5_base_lm", "method=none", "data=fixture"])
    resolved = {**deepcopy(point.resolved), "task": asked["task"]}
    source = point.config.task.name
    made = as_record(point, typed(resolved).task, config=resolved, steps=0)
    own = {"from": source, "to": target, "run": point.run_id}
    return made | {"run_id": f"{point.run_id[:8]}{target[-6:]}", "task": f"{target} (from {source})", "transfer": own}


def filled(layout: Layout, runs: Sequence[Run]) -> tuple[State, Table]:
    return fill(layout, Reading(Path(), list(runs)), FIXTURES)


def test_every_experiment_of_a_paper_is_here() -> None:
    there = {str(path.relative_to(CONF).with_suffix("")) for path in CONF.glob("*/*.yaml")}
    assert there == {filling.experiment for filling in FILLINGS} | set(UNREACHABLE)
    tables = {(filling.paper, table) for filling in FILLINGS for table in filling.tables}
    asked = {(paper, table) for paper in {f.paper for f in FILLINGS} for table in tables_of(paper)}
    assert asked - tables == {("dept", "released"), ("dept", "efficiency")}  # the second: of any runs that were timed


@pytest.mark.parametrize("filling", EACH, ids=lambda filling: filling.experiment)
def test_an_experiment_fills_its_tables(filling: Filling) -> None:
    runs = runs_of(planned(filling.experiment, *filling.more))
    seen: dict[str, set[str]] = {run.id: set() for run in runs}
    for name in filling.tables:
        layout = load(filling.paper, name)
        state, table = filled(layout, runs)
        assert [row.label for row in table.rows] == [row.label for row in layout.rows]  # no row falls apart by settings
        for (index, key), cell in state.filled.items():
            row = state.layout.rows[index]
            where = f"{filling.experiment}: table {name}, {row.label}, {key}: {cell.cell.text} {cell.cell.footnotes}"
            empty = {*filling.holes.get(name, ()), *filling.holes.get(row.label, ())}
            if row.label in filling.others or key in empty:
                assert cell.cell.value is None, f"{where} is filled, and is said to be nobody's"
                continue
            assert cell.cell.value is not None and len(cell.choice.trials) >= 1, where
            standing = [run for trial in cell.choice.trials for run in trial.runs]
            for run in standing:
                seen[run.id].add(f"{name}: {row.label}")
            own = [100 * run.score(metric=cell.column.metric) for run in cell.runs]  # type: ignore[operator]
            assert cell.cell.value == pytest.approx(sum(own) / len(own)), where
        _averages_are_whole(filling, name, state, table)
        assert {cell.verdict for row in table.rows for cell in row.cells.values()} <= {"", "not comparable"}
        assert _published(table) == _published(filled(layout, [])[1])
    lost = [run.get("task") for run in runs if not seen[run.id] and run.get("task") not in filling.sources]
    twice = {run.id: rows for run in runs if len(rows := seen[run.id]) > 1}
    assert not lost and not twice, (lost, twice)


def _averages_are_whole(filling: Filling, name: str, state: State, table: Table) -> None:
    for index, row in enumerate(state.layout.rows):
        empty = {
            *filling.holes.get(name, ()),
            *filling.holes.get(row.label, ()),
            *(("*",) if row.label in filling.others else ()),
        }
        for column in state.layout.columns:
            parts = {key for part in column.of for key in ((part,) if isinstance(part, str) else part)}
            whole = bool(parts) and "*" not in empty and not parts & empty
            assert not whole or table.rows[index].cells[column.key].value is not None, (name, row.label, column.key)


def _published(table: Table) -> dict[tuple[str, str], float]:
    return {
        (row.label, key): cell.published
        for row in table.rows
        for key, cell in row.cells.items()
        if cell.published is not None
    }


def test_published_values_stand_where_they_are_on_file() -> None:
    """Counted by hand: rows x columns of which results/reference has a cell."""
    counts = {
        (paper, name): len(_published(filled(load(paper, name), [])[1]))
        for paper in ("pt", "dept", "adept", "accept", "apt", "ptuning_v2")
        for name in tables_of(paper)
    }
    assert {key: count for key, count in counts.items() if count} == {
        ("pt", "3"): 3 * 12, ("pt", "transfer"): 2 * 7, ("pt", "paraphrase"): 2 * 4,
        ("pt", "sizes"): 12,  # XXL: table 3's mean over its prompts
        ("dept", "1"): 10 * 15, ("dept", "2"): 9 * 10, ("dept", "released"): 17,  # ADePT's own are not on file
        ("adept", "3"): 3 * 14, ("adept", "mrqa"): 3 * 10,  # no ReCoRD, and so no mean with it
        ("accept", "A1"): 12 * 15,
        ("apt", "bert_base"): 7, ("apt", "bert_large"): 6 + 7, ("apt", "roberta_large"): 5 + 8,
        ("ptuning_v2", "P1"): 7 + 8,
    }  # fmt: skip


@pytest.mark.slow
def test_no_ablation_takes_another_ones_runs_for_trials_of_its_own() -> None:
    """With every experiment of all papers in one ledger a cell's trials differ in what is tuned, never in design."""
    tuned = ("method.lr.", "runner.", "method.max_source_length", "method.reparameterisation", "protocol.")
    main = {("dept", "1"), ("dept", "2"), ("dept", "fewshot"), ("adept", "3"), ("adept", "mrqa"), ("accept", "A1")}
    main |= {("accept", "mrqa"), ("accept", "few_shot")}
    main |= {("apt", t) for t in ("bert_base", "bert_large", "roberta_base", "roberta_large")} | {("ptuning_v2", "P1")}
    switches = ("method.scpp", "method.scap", "method.token_gate", "method.layer_gate", "method.init_from")
    every = {run.id: run for f in FILLINGS for run in runs_of(planned(f.experiment, *f.more))}
    for filling in FILLINGS:
        for name in filling.tables:
            state, _ = filled(load(filling.paper, name), list(every.values()))
            for (index, key), cell in state.filled.items():
                options = [_options(trial.runs[0]) for trial in cell.choice.trials]
                differ = {k for one in options for k in one if len({str(o.get(k)) for o in options}) > 1}
                kept = {k for k in differ if k.startswith("method.") and not k.startswith(tuned)}
                wrong = kept & set(switches) if (filling.paper, name) in main else kept
                zero = [o.get("method.prompt_length") for o in options if len(options) > 1]
                label = state.layout.rows[index].label
                assert not wrong and 0 not in zero, (filling.paper, name, label, key, wrong, zero)


def _options(run: Run) -> dict[str, Any]:
    from results.identity import choices_that_count

    return choices_that_count(run.config)


@pytest.mark.parametrize(
    "paper",
    [
        p if p == "apt" else pytest.param(p, marks=pytest.mark.slow)
        for p in ("apt", "pt", "dept", "adept", "accept", "ptuning_v2")
    ],
)
def test_the_command_of_a_missing_cell_makes_runs_of_that_cell(paper: str) -> None:
    """A cell of every row and column: what --commands prints is pasted, planned, and its runs stand in the cell."""
    for name in tables_of(paper):
        layout = load(paper, name)
        state, _ = filled(layout, [])
        said: set[str] = set()
        for (index, key), cell in state.filled.items():
            command, row = cell.cell.command, state.layout.rows[index]
            if not command or {row.label, key} <= said or name in ("released", "efficiency") or "<run id>" in command:
                continue
            said |= {row.label, key}
            assert command.startswith("python run.py "), command
            plan = make_plan([*command.split()[2:], "data=fixture"])
            assert plan.problems == [] and plan.points, (command, plan.problems)
            made = filled(layout, [Run(as_record(point), Path()) for point in plan.points])[0].filled[index, key]
            assert made.runs, (command, name, row.label, key)


def test_a_row_that_no_run_can_fill_is_refused() -> None:
    """`PT-2+` asked for a length of 30 in a table whose runs have 20 alone, and was missing for ever."""
    from results.tables.checked import LayoutError
    from results.tables.layout import parse

    spec: dict[str, Any] = {
        "title": "t", "where": {"method.prefix_length": 20, "backbone": ["a", "b"]},
        "columns": {"x": {"task": "glue/rte"}, "mean": {"of": ["x"]}},
        "rows": [{"label": "r", "where": {"backbone": "b"}}],
    }  # fmt: skip
    assert parse("p", "t", spec).rows[0].label == "r"
    for change, words in (
        (
            {"rows": [{"label": "PT-2+", "where": {"method.prefix_length": 30}}]},
            "the table takes method.prefix_length=20 alone",
        ),
        ({"rows": [{"label": "r", "where": {"task": "glue/mrpc"}}]}, "column x takes task=glue/rte alone"),
        ({"rows": [{"label": "r", "where": {"method": "pt"}, "value": "votes"}]}, "must be one of"),
        ({"columns": {"mean": {"of": ["x"]}}}, "no such column"),
    ):
        with pytest.raises(LayoutError, match=words):
            parse("p", "t", spec | change)
    for paper in papers():
        assert all(load(paper, name) for name in tables_of(paper))
