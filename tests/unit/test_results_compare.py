"""Published values beside measured ones, verdicts, bold by significance, selection, frame, REPRODUCTION.md."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import results
from results.records import matches, read_runs
from results.reproduction import OUT_OF_SCOPE
from results.reproduction import main as reproduction
from results.selection import choose, trials
from results.tables.__main__ import main
from results.tables.build import build
from results.tables.layout import free, load, papers, parse, tables_of
from results.tables.model import Cell, Table
from results.tables.render import render
from results.tables.state import Options
from tests.unit.results_fixtures import answers, write_run

PAPER = {
    "backbone": {"name": "t5_base", "lineage": "T5 v1.0, multitask pre-trained"},
    "protocol": {"name": "dept"},
    "runner": {"name": "paper"},
}


def paper_run(
    root: Path, method: str, task: str, seed: int, score: float, metric: str = "accuracy", **more: Any
) -> str:
    """A run as the DePT family's protocol makes them."""
    config = {key: {**PAPER.get(key, {}), **more.get("config", {}).get(key, {})} for key in PAPER}
    fields = {key: value for key, value in more.items() if key != "config"}
    fields.setdefault("n", 139)
    return write_run(root, method, task, seed, test=score, metric=metric, config=config, **fields)


def cell_of(table: Table, label: str, column: str) -> Cell:
    """One cell by row label and column key."""
    return next(row for row in table.rows if row.label == label).cells[column]


def test_three_close_seeds_reproduce_the_published_cell(tmp_path: Path) -> None:
    for seed, score in enumerate((0.790, 0.792, 0.791)):
        paper_run(tmp_path, "dept", "glue/rte", seed, score)
    cell = cell_of(build(load("dept", "1"), read_runs(tmp_path)), "DePT", "RTE")
    assert cell.published == 79.1 and cell.verdict == "reproduced"
    assert cell.difference == pytest.approx(0.0, abs=0.05)
    assert cell.published_note.startswith("quoted from ULPT")


def test_one_run_is_always_inconclusive(tmp_path: Path) -> None:
    paper_run(tmp_path, "dept", "glue/rte", 1, 0.791)
    assert cell_of(build(load("dept", "1"), read_runs(tmp_path)), "DePT", "RTE").verdict == "inconclusive"


@pytest.mark.parametrize("score", [0.755, 0.5])
def test_unknown_seeds_block_reproduced_and_differs(tmp_path: Path, score: float) -> None:
    for seed in range(3):
        paper_run(tmp_path, "lora", "glue/rte", seed, score + 0.001 * seed)
    cell = cell_of(build(load("dept", "1"), read_runs(tmp_path)), "LoRA", "RTE")
    assert cell.verdict == "inconclusive" and "seeds" in cell.verdict_why


def test_a_margin_under_one_example_is_undecidable(tmp_path: Path) -> None:
    for seed in range(3):
        paper_run(tmp_path, "dept", "superglue/cb", seed, 24 / 28, n=28)
    table = build(load("dept", "1"), read_runs(tmp_path))
    cell = cell_of(table, "DePT", "CB")
    assert cell.verdict == "undecidable" and "3.6 points" in cell.verdict_why
    assert "n/d" in render(table, "markdown") and "n/d" in render(table, "latex")


def test_a_published_average_is_judged_itself(tmp_path: Path) -> None:
    """Parts that differ in opposite directions cancel in the average, which is as it was published."""
    published = {"multirc": 74.3, "boolq": 79.3, "wic": 68.7, "wsc_fixed": 67.3, "cb": 92.9}
    shift = {"multirc": 3.0, "boolq": -3.0, "wic": 2.0, "wsc_fixed": -2.0, "cb": 0.0}
    for task, value in published.items():
        for seed in range(5):
            score = (value + shift[task]) / 100 + 0.002 * (seed - 2)
            metric = "f1" if task == "multirc" else "accuracy"
            paper_run(tmp_path, "dept", f"superglue/{task}", seed, score, metric, n=5000)
    table = build(load("dept", "1"), read_runs(tmp_path))
    assert cell_of(table, "DePT", "MultiRC").verdict == "differs"
    average = cell_of(table, "DePT", "SuperGLUE")
    assert average.difference == pytest.approx(0.0, abs=0.1) and average.verdict == "reproduced"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"backbone": {"lineage": "T5 v1.1, LM-adapted"}}, "lineage"),
        ({"runner": {"name": "quick"}}, "runner=quick"),
        ({"runner": {"test_rows": 100}}, "rows only"),
    ],
)
def test_what_makes_a_cell_not_comparable(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    for seed in range(3):
        paper_run(tmp_path, "dept", "glue/rte", seed, 0.79 + 0.001 * seed, config=config)
    cell = cell_of(build(load("dept", "1"), read_runs(tmp_path)), "DePT", "RTE")
    assert cell.verdict == "not comparable" and said in cell.verdict_why


def test_another_backbone_is_shown_but_not_compared(tmp_path: Path) -> None:
    write_run(
        tmp_path, "dept", "glue/rte", test=0.7, config={"protocol": {"name": "dept"}, "runner": {"name": "paper"}}
    )
    table = build(load("dept", "1").narrowed({"backbone": "smollm2_135m"}), read_runs(tmp_path))
    cell = cell_of(table, "DePT", "RTE")
    assert cell.value == pytest.approx(70.0) and cell.verdict == "not comparable"
    assert "smollm2_135m" in cell.verdict_why and any("Not comparable" in text for text in table.caption)


def test_averages_need_all_their_tasks(tmp_path: Path) -> None:
    for task, metric in (("multirc", "f1"), ("boolq", "accuracy"), ("wic", "accuracy"), ("wsc_fixed", "accuracy")):
        paper_run(tmp_path, "dept", f"superglue/{task}", 1, 0.7, metric)
    partial = cell_of(build(load("dept", "1"), read_runs(tmp_path)), "DePT", "SuperGLUE")
    assert partial.value is None and partial.text == "4/5"
    paper_run(tmp_path, "dept", "superglue/cb", 1, 0.9)
    whole = cell_of(build(load("dept", "1"), read_runs(tmp_path)), "DePT", "SuperGLUE")
    assert whole.value == pytest.approx(74.0) and whole.published == 76.5


def test_a_task_with_two_metrics_counts_once_in_an_average(tmp_path: Path) -> None:
    spec = {
        "columns": {
            "a": {"task": "glue/rte", "metric": "accuracy"},
            "b": {"task": "glue/mrpc", "metric": "accuracy"},
            "b2": {"task": "glue/mrpc", "metric": "f1"},
            "mean": {"of": ["a", ["b", "b2"]]},
        },
        "rows": [{"label": "PT", "where": {"method": "pt"}}],
    }
    write_run(tmp_path, "pt", "glue/rte", test=0.6)
    write_run(tmp_path, "pt", "glue/mrpc", metrics={"test": {"accuracy": 0.8, "f1": 0.9}, "validation": {}})
    table = build(parse("x", "1", spec), read_runs(tmp_path))
    assert cell_of(table, "PT", "mean").value == pytest.approx((60.0 + 85.0) / 2)


def test_csv_of_a_paper_table(tmp_path: Path) -> None:
    for seed, score in enumerate((0.790, 0.792, 0.791)):
        paper_run(tmp_path, "dept", "glue/rte", seed, score)
    rows = list(csv.DictReader(io.StringIO(render(build(load("dept", "1"), read_runs(tmp_path)), "csv"))))
    rte = next(row for row in rows if row["method"] == "DePT" and row["task"] == "glue/rte")
    assert (rte["paper"], rte["table"], rte["published"], rte["n_seeds"]) == ("dept", "1", "79.1", "3")
    assert rte["verdict"] == "reproduced" and len(rte["run_ids"].split()) == 3
    missing = next(row for row in rows if row["method"] == "DePT" and row["task"] == "glue/cola")
    assert missing["ours"] == "" and missing["verdict"] == "missing" and missing["published"] == "63.8"


def fill_cell(root: Path, method: str, accuracy: float, n: int = 400, seeds: int = 3, **more: Any) -> None:
    """Runs of one method whose predictions give their scores."""
    for seed in range(1, seeds + 1):
        rows = answers(accuracy, n, seed=100 * len(method) + ord(method[0]) + seed)
        for row in rows:
            del row["group"]
        score = sum(row["prediction"] == row["reference"] for row in rows) / n
        config = {"task": {"labels": ["a", "b"]}}
        write_run(root, method, seed=seed, test=score, n=n, predictions=rows, config=config, **more)


def bold(table: Table, key: str = "task=demo/movie_reviews") -> dict[str, bool]:
    return {row.label: row.cells[key].best for row in table.rows}


def test_bold_takes_in_what_is_not_significantly_worse(tmp_path: Path) -> None:
    for method, accuracy in (("pt", 0.80), ("dept", 0.82), ("lora", 0.52)):
        fill_cell(tmp_path, method, accuracy)
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    assert bold(table) == {"dept": True, "pt": True, "lora": False}
    caption = " ".join(table.caption)
    assert "Holm over all pairs of a column (3)" in caption and "3 seeds per trained cell" in caption
    assert "80% power" in caption and "collapse" in caption
    plain = build(free(reading.runs, "method", "task", {}), reading, Options(significance=False))
    assert bold(plain) == {"dept": True, "pt": False, "lora": False}
    assert any("nothing was tested" in text for text in plain.caption)


def test_one_trained_run_is_not_tested_and_its_cell_says_so(tmp_path: Path) -> None:
    fill_cell(tmp_path, "pt", 0.80)
    fill_cell(tmp_path, "dept", 0.70, seeds=1)
    fill_cell(tmp_path, "none", 0.50, seeds=1)
    reading = read_runs(tmp_path)
    layout = free(reading.runs, "method", "task", {})
    table = build(layout, reading)
    cells = {row.label: row.cells["task=demo/movie_reviews"] for row in table.rows}
    assert any("not tested: one trained run" in note for note in cells["dept"].footnotes) and not cells["dept"].best
    assert not any("not tested" in note for label in ("pt", "none") for note in cells[label].footnotes)
    assert cells["pt"].best and not cells["none"].best
    assert "not tested: one trained run" in render(table, "latex") and "not tested" in render(table, "html")


def test_where_the_highest_cell_is_one_trained_run_nothing_is_bold(tmp_path: Path) -> None:
    fill_cell(tmp_path, "pt", 0.70)
    fill_cell(tmp_path, "dept", 0.90, seeds=1)
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    assert not any(bold(table).values()) and any("No bold in demo/movie_reviews" in text for text in table.caption)


def test_every_seed_can_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, score in ((2, 0.78), (1, 0.52), (3, 0.55)):
        write_run(tmp_path, "dept", seed=seed, test=score)
    assert main([f"ledger.root={tmp_path}", "cells=all"]) == 0
    out = capsys.readouterr().out
    assert "61.7 (52.0, 78.0, 55.0)" in out and "±" not in out.splitlines()[2]
    assert "two groups" in out and "dept (52.0, 55.0 \\| 78.0)" in out
    assert main([f"ledger.root={tmp_path}", "format=csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(",52 78 55")
    assert main([f"ledger.root={tmp_path}", "cells=some"]) == 2


def averages(tmp_path: Path, scores: dict[str, dict[str, float]], **more: Any) -> Table:
    tasks = list(next(iter(scores.values())))
    for method, by_task in scores.items():
        for task, accuracy in by_task.items():
            fill_cell(tmp_path, method, accuracy, task=f"glue/{task}", **more)
    spec = {
        "columns": {task: {"task": f"glue/{task}"} for task in tasks} | {"mean": {"of": tasks}},
        "rows": [{"label": m, "where": {"method": m}} for m in scores],
    }
    return build(parse("x", "1", spec), read_runs(tmp_path), Options())


def test_averages_are_compared_by_the_noise_of_their_tasks(tmp_path: Path) -> None:
    """Four tasks, one method eight points worse on every one: the sign of four differences could never say so."""
    tasks = ("mnli", "qqp", "qnli", "sst2")
    table = averages(
        tmp_path,
        {"pt": dict.fromkeys(tasks, 0.78), "dept": dict.fromkeys(tasks, 0.90), "lora": dict.fromkeys(tasks, 0.895)},
        seeds=5,
    )
    assert bold(table, "mean") == {"pt": False, "dept": True, "lora": True}


def test_an_average_with_a_single_run_in_it_is_not_tested(tmp_path: Path) -> None:
    table = averages(tmp_path, {"pt": {"mnli": 0.5, "rte": 0.5}, "dept": {"mnli": 0.9, "rte": 0.9}}, seeds=1)
    assert not any(bold(table, "mean").values())
    assert any("one trained run" in note for note in table.rows[0].cells["mean"].footnotes)


def test_a_finished_run_without_a_finite_score_is_named(tmp_path: Path) -> None:
    fill_cell(tmp_path, "pt", 0.8)
    lost = write_run(tmp_path, "pt", seed=9, test=float("nan"), config={"task": {"labels": ["a", "b"]}})
    reading = read_runs(tmp_path)
    cell = build(free(reading.runs, "method", "task", {}), reading).rows[0].cells["task=demo/movie_reviews"]
    assert cell.n == 3 and any(lost in note and "not in the mean" in note for note in cell.footnotes)


def test_doubtful_copies_are_said_in_the_table() -> None:
    notes = build(load("dept", "2"), read_runs(Path("nowhere"))).footnotes()
    assert any("printed 76.0" in note for note in notes) and any("71.7" in note for note in notes)


def test_predictions_that_do_not_give_the_score_are_not_used(tmp_path: Path) -> None:
    for method in ("pt", "dept"):
        for seed in (1, 2):
            test = 0.80 if method == "pt" else 0.81
            write_run(tmp_path, method, seed=seed, test=test, n=200, predictions=answers(0.5))
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    assert any("do not give the recorded score" in note for note in table.footnotes())
    assert not any(bold(table).values())


def test_packed_runs_do_not_enter_efficiency(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", train_examples_per_second=10.0)
    write_run(tmp_path, "dept", packed={"size": 4}, train_examples_per_second=99.0)
    table = build(load("dept", "efficiency"), read_runs(tmp_path))
    assert cell_of(table, "PT", "train").value == 10.0
    packed = cell_of(table, "DePT", "train")
    assert packed.value is None and any("packed" in note for note in packed.footnotes)


def test_trials_are_counted_and_seeds_are_not_trials(tmp_path: Path) -> None:
    for rate in (0.1, 0.3):
        for seed in (1, 2, 3):
            write_run(
                tmp_path, "pt", seed=seed, test=rate, validation=1 - rate, config={"method": {"lr": {"prompt": rate}}}
            )
    runs = read_runs(tmp_path).runs
    assert len(trials(runs)) == 2
    choice = choose(runs)
    assert {run.get("method.lr.prompt") for run in choice.runs} == {0.1} and len(choice.runs) == 3
    assert choice.median == pytest.approx(0.2)
    assert choose(runs, "reported").runs[0].get("method.lr.prompt") == 0.3
    with pytest.raises(ValueError, match="validation, reported"):
        choose(runs, "test")


def test_without_a_validation_score_nothing_is_chosen(tmp_path: Path) -> None:
    for rate in (0.1, 0.3):
        write_run(tmp_path, "pt", validation=None, test=rate, config={"method": {"lr": {"prompt": rate}}})
    choice = choose(read_runs(tmp_path).runs)
    assert choice.runs == () and "selection=reported" in choice.problem


def test_median_of_the_grid_stands_beside_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rate, score in ((0.1, 0.9), (0.2, 0.6), (0.3, 0.5)):
        config = {"method": {"lr": {"prompt": rate}}}
        write_run(tmp_path, "pt", test=score, validation=score, config=config)
    assert main([f"ledger.root={tmp_path}", "median=true", "format=csv"]) == 0
    rows = {row["method"]: row["ours"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows == {"pt": "90", "pt, median of its grid": "60"}


def test_unknown_filters_are_refused_with_the_nearest_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "pt")
    assert main([f"ledger.root={tmp_path}", "method.promt_length=20"]) == 2
    assert "method.prompt_length" in capsys.readouterr().err


def test_unequal_trials_are_said(tmp_path: Path) -> None:
    write_run(tmp_path, "dept")
    for rate in (0.1, 0.3):
        write_run(tmp_path, "pt", config={"method": {"lr": {"prompt": rate}}})
    reading = read_runs(tmp_path)
    caption = " ".join(build(free(reading.runs, "method", "task", {}), reading).caption)
    assert "dept 1" in caption and "pt 2" in caption and "unequal" in caption


def test_filters_reach_into_the_config(tmp_path: Path) -> None:
    write_run(tmp_path, "pt")
    run = read_runs(tmp_path).runs[0]
    assert matches(run, {"method.prompt_length": "20", "seed": ["1", "2"]})
    assert not matches(run, {"method.prompt_length": 60})
    assert matches(run, {"protocol.k_shot": None})


def test_frame_has_a_row_per_run_and_names_broken_folders(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", untrained=0.5)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "record.json").write_text("{")
    frame = results.frame(tmp_path)
    assert len(frame) == 1 and frame.attrs["problems"][0].startswith("torn")
    row = frame.iloc[0]
    assert (row["score"], row["untrained_score"], row["n"]) == (0.85, 0.5, 1000)
    assert row["config.method.lr.prompt"] == 0.01 and row["metrics.test.accuracy"] == 0.85


def test_reproduction_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, score in enumerate((0.790, 0.792, 0.791)):
        paper_run(tmp_path, "dept", "glue/rte", seed, score)
    paper_run(tmp_path, "dept", "glue/cola", 1, 0.0, "matthews", status="failed", reason="out of memory")
    out = tmp_path.parent / "REPRODUCTION.md"
    assert reproduction([f"ledger.root={tmp_path}", f"out={out}"]) == 0
    text = out.read_text()
    assert all(scope in text for scope in OUT_OF_SCOPE)
    assert "1: DePT, RTE: 79.1 ± 0.1 (n = 3), published 79.1" in text
    assert "out of memory" in text and "--commands" in text
    assert reproduction(["papr=dept"]) == 2


def test_selection_on_the_reported_split_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=None, validation=0.8, primary_split="validation")
    reading = read_runs(tmp_path)
    table = build(free(reading.runs, "method", "task", {}), reading)
    assert any("chosen on the reported split" in text for text in table.caption)
    write_run(tmp_path, "dept", test=None, validation=0.7)
    assert {run.primary_split for run in read_runs(tmp_path).runs} == {"validation"}


def test_commands_fill_a_paper_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper=dept", "table=1", f"ledger.root={tmp_path}", "--commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "python run.py experiment=dept/table1 backbone=t5_base protocol=dept method=dept task=glue/rte" in lines
    assert not any("ATTEMPT" in line for line in lines)


def test_layouts_find_their_published_cells() -> None:
    """Every column and row that names a published cell of a paper with numbers finds at least one."""
    for paper in papers():
        for name in tables_of(paper):
            table = build(load(paper, name), read_runs(Path("nowhere")))
            shown = sum(cell.published is not None for row in table.rows for cell in row.cells.values())
            expected = {("dept", "1"): 150, ("dept", "2"): 90, ("accept", "A1"): 180, ("pt", "3"): 36}
            assert shown == expected.get((paper, name), shown), (paper, name, shown)


@pytest.mark.slow
def test_two_thousand_runs_in_two_seconds(tmp_path: Path) -> None:
    for index in range(2000):
        method, task = f"m{index % 8}", f"glue/t{index // 8 % 13}"
        write_run(tmp_path, method, task, seed=index, run_id=f"{index:016x}", test=0.5 + index % 7 / 100)
    command = [sys.executable, "-m", "results.tables", f"ledger.root={tmp_path}"]
    best = min(_timed(command) for _ in range(3))
    assert best < 2.0, f"{best:.2f} s"


def _timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).resolve().parents[2])
    return time.monotonic() - start


def test_layouts_name_what_the_configs_have() -> None:
    """Every task, metric, method, backbone and protocol that a layout asks for is in conf/."""
    import yaml

    conf = Path(__file__).resolve().parents[2] / "conf"

    def named(group: str, values: Any) -> list[Path]:
        return [conf / group / f"{value}.yaml" for value in (values if isinstance(values, list) else [values])]

    for paper in papers():
        for name in tables_of(paper):
            layout = load(paper, name)
            for where in [layout.where, *(s.where for s in layout.rows), *(c.where for c in layout.columns)]:
                for group in {"task", "method", "backbone", "protocol"} & set(where):
                    for path in named(group, where[group]):
                        assert path.exists(), f"{paper} {name}: {group}={where[group]}"
            for column in layout.columns:
                if column.metric and "task" in column.where:
                    task = yaml.safe_load((conf / "task" / f"{column.where['task']}.yaml").read_text("utf-8"))
                    assert column.metric.removesuffix("_lenient") in task["metrics"], (
                        f"{paper} {name}: {column.key} {column.metric}"
                    )
