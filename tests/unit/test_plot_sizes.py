"""Score against model size: the figure draws what the table says, and leaves out what it does not have whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from results.plots import command, sizes
from results.records import read_runs
from results.tables.build import fill
from results.tables.layout import RowSpec, load
from results.tables.state import Options
from tests.unit.results_fixtures import write_run

PARAMETERS = {"t5_small_lm": 77e6, "t5_base_lm": 248e6, "t5_large_lm": 783e6, "t5_xl_lm": 2.85e9, "t5_xxl_lm": 11.1e9}


def write_table(
    root: Path, paper: str, table: str, seeds: tuple[int, ...] = (1, 2), leave: tuple[str, ...] = ()
) -> None:
    """Runs for every cell of a layout whose rows are told apart by method and backbone, better with size."""
    layout = load(paper, table)
    columns = [column for column in layout.columns if "task" in column.where]
    for row in layout.rows:
        for task in dict.fromkeys(str(column.where["task"]) for column in columns):
            if row.label in leave and task == columns[0].where["task"]:
                continue
            names = [column.metric or "accuracy" for column in columns if column.where["task"] == task]
            method = str(row.where.get("method", layout.where.get("method")))
            backbone = str(row.where["backbone"])
            place = list(PARAMETERS).index(backbone)
            for seed in seeds:
                value = 0.5 + 0.08 * place + (0.05 if method == "full" else 0.0) + 0.01 * seed
                options = {
                    k.partition(".")[2]: v for k, v in {**layout.where, **row.where}.items() if k.startswith("method.")
                }
                write_run(
                    root, method, task, seed, test=None, validation=None, n=40,
                    config={
                        "backbone": {"name": backbone, "lineage": "T5 v1.1"}, "protocol": {"name": "lester"},
                        "method": {"name": method, **options}, "data": {"source": "hub"},
                    },
                    metrics={"validation": dict.fromkeys(names, value)}, primary_metric=names[0],
                    primary_split="validation", backbone_parameters=int(PARAMETERS[backbone]),
                )  # fmt: skip


def made(root: Path, paper: str, table: str) -> sizes.Figure:
    return sizes.figure_of(*fill(load(paper, table), read_runs(root), Options(significance=False)))


def test_series_lie_on_sizes_with_every_seed_and_what_is_published(tmp_path: Path) -> None:
    write_table(tmp_path, "pt", "sizes")
    figure = made(tmp_path, "pt", "sizes")
    assert list(figure.series) == ["model tuning", "prompt tuning"]
    assert figure.methods == {"model tuning": "full", "prompt tuning": "pt"}
    tuned = figure.series["prompt tuning"]
    assert [place.size for place in tuned] == list(PARAMETERS.values())
    assert [place.y for place in tuned] == pytest.approx([51.5, 59.5, 67.5, 75.5, 83.5])
    assert tuned[0].seeds == pytest.approx((51.0, 52.0))
    assert [place.published for place in tuned] == [None, None, None, None, 90.5]  # table 3's five prompts
    assert all(place.published is None for place in figure.series["model tuning"])


def test_a_mean_that_is_not_whole_is_left_out_by_name(tmp_path: Path) -> None:
    write_table(tmp_path, "pt", "sizes", leave=("XL, prompt tuning",))
    figure = made(tmp_path, "pt", "sizes")
    assert [place.model for place in figure.series["prompt tuning"]] == [n for n in PARAMETERS if n != "t5_xl_lm"]
    assert figure.left_out == ["XL, prompt tuning (7/8)"]


def test_lengths_are_series_of_one_method(tmp_path: Path) -> None:
    write_table(tmp_path, "pt", "lengths", seeds=(1,))
    figure = made(tmp_path, "pt", "lengths")
    assert list(figure.series) == [f"length {n}" for n in (1, 5, 20, 100, 150)]
    looks = sizes._looks(figure)
    assert len({colour for _, colour, _ in looks}) == len({marker for *_, marker in looks}) == 5
    assert all(len(places) == 5 and not places[0].seeds for places in figure.series.values())


@pytest.mark.parametrize(
    ("label", "group", "series"),
    [("small, prompt tuning", "small", "prompt tuning"), ("T5-3B, DePT", "T5-3B", "DePT"), ("pt, t5_base", "", "pt"),
     ("PT [backbone=t5_base]", "", "PT"), ("PT [backbone=t5_base, fidelity=author]", "", "PT [fidelity=author]")],
)  # fmt: skip
def test_a_series_is_the_row_without_its_model(label: str, group: str, series: str) -> None:
    assert sizes.series_of(RowSpec(label, {"backbone": "t5_base"}, group=group)) == series


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "runs", tmp_path / "figures"
    write_table(root, "pt", "sizes")
    words: list[Any] = [f"ledger.root={root}", f"out={out}"]
    assert command.main(["sizes", "paper=pt", "table=sizes", *words]) == 0
    assert capsys.readouterr().out.split() == [str(out / f"sizes-pt-sizes.{end}") for end in ("png", "pdf")]
    assert (out / "sizes-pt-sizes.png").stat().st_size > 20_000
    assert command.main(["sizes", "method=pt", *words]) == 0 and (out / "sizes.png").is_file()  # a table of one's own
    for bad, said in (
        (["paper=dept", "table=sizes"], "nothing to draw"), (["table=sizes"], "paper=NAME table=NAME"),
        (["paper=pt", "table=size"], "has the tables"), (["methd=pt"], "did you mean method"),
        (["method=lora"], "nothing to draw"),
    ):  # fmt: skip
        capsys.readouterr()
        assert command.main(["sizes", *bad, *words]) == 2
        assert said in capsys.readouterr().err


def test_methods_by_backbone_are_lines_under_their_names(tmp_path: Path) -> None:
    """What must stand beside a name (APT is known from an abstract) parted its models into lines of one point."""
    for backbone, count in (("bert_base", 110_000_000), ("bert_large", 335_000_000)):
        for method in ("apt", "pt, shuffled labels (control)", "none"):
            more = {"untrained": 0.5} if method == "apt" else {}
            write_run(tmp_path, method, config={"backbone": {"name": backbone}}, backbone_parameters=count, **more)  # type: ignore[arg-type]
    reading = read_runs(tmp_path)
    layout = sizes.methods_by_backbone(reading.runs, {"protocol": ["carved"]})
    figure = sizes.figure_of(*fill(layout, reading, Options(significance=False)))
    assert {name: len(places) for name, places in figure.series.items()} == {
        "APT, gates after the abstract": 2, "pt, shuffled labels (control)": 2, "zero-shot": 2,
    }  # fmt: skip
    assert layout.title == "Score by model size, protocol carved"
