"""Composition, resolution and the messages for mistyped overrides."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from conf.choices import groups
from conf.compose import compose, typed
from conf.resolve import ConfigError, get


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compose(list(overrides))
    return error.value.problems


def test_every_mistake_is_said_at_once_with_the_nearest_name() -> None:
    found = problems("method=dpt", "runner.max_stepz=3", "runner.batch_size=abc", "fidelity=x", "seed=1,2")
    text = "\n".join(found)
    assert len(found) == 5
    assert "Did you mean" in text and "dept" in text and "runner.max_steps" in text
    assert "batch_size" in text and "author" in text and "-m" in text


@pytest.mark.parametrize("override", ["method.rank=high", "method.rank=1.5", "method.offset_scale=twice"])
def test_a_method_option_of_the_wrong_type_or_outside_its_choices_is_refused(override: str) -> None:
    assert override.split("=")[0].split(".")[1] in problems("method=dept", override)[0]


def test_an_integer_is_a_fine_learning_rate() -> None:
    assert compose(["method=dept", "method.lr.prompt=1"])["method"]["lr"]["prompt"] == 1


def test_family_defaults_fill_what_nobody_chose() -> None:
    t5 = compose(["method=dept", "backbone=t5_base"])
    llama = compose(["method=dept", "backbone=smollm2_135m"])
    chosen = compose(["method=dept", "backbone=t5_base", "method.lr.prompt=0.5"])
    assert get(t5, "method.lr.prompt") == 0.3
    assert get(llama, "method.lr.prompt") == 0.01
    assert get(chosen, "method.lr.prompt") == 0.5


def test_fidelity_sets_every_quirk() -> None:
    author, corrected = (compose(["method=dept", f"fidelity={which}"]) for which in ("author", "corrected"))
    assert get(author, "method.row_alignment") == "right_edge"
    assert get(corrected, "method.row_alignment") == "source_end"


def test_documentation_blocks_are_no_part_of_a_run() -> None:
    resolved = compose(["method=adept"])
    for block in ("defaults_by_family", "defaults_by_fidelity", "choices", "space", "about"):
        assert block not in resolved["method"]


def test_paper_runner_takes_steps_batch_and_warm_up_from_the_protocol() -> None:
    rte = compose(["runner=paper", "protocol=dept", "task=glue/rte", "backbone=t5_base"])
    qqp = compose(["runner=paper", "protocol=dept", "task=glue/qqp", "backbone=t5_base"])
    assert (get(rte, "runner.max_steps"), get(qqp, "runner.max_steps")) == (30_000, 300_000)
    assert get(rte, "runner.batch_size") == 32
    assert get(rte, "runner.schedule.warmup_steps") == 500


def test_presets_keep_the_method_and_change_its_budget() -> None:
    preset = compose(["method=dept/m40_r45"])
    assert preset["method"]["name"] == "dept"
    assert (preset["method"]["prompt_length"], preset["method"]["rank"]) == (40, 45)


@pytest.mark.parametrize("task", groups()["task"])
def test_every_task_composes_into_the_typed_schema(task: str) -> None:
    assert typed(compose([f"task={task}"])).task.name == task


@pytest.mark.parametrize("group", ["backbone", "protocol", "runner", "method"])
def test_every_option_composes(group: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    for option in groups()[group]:  # backbone=hub asks which model
        resolved = compose([f"{group}={option}", *([f"backbone.path={tmp_path}"] if option == "hub" else [])])
        assert typed(resolved)


@pytest.mark.parametrize(
    "override", ["ledger.root=5", "cache.root=true", "data.root=1e5", "backbone.path=2024", "released.root=0"]
)
def test_a_number_is_no_path(override: str) -> None:
    key, _, value = override.partition("=")
    (said,) = problems("method=pt", override)
    assert override in said and "text is wanted" in said and f"{key}=./{value}" in said
    assert get(compose(["method=pt", f"{key}=./{value}"]), key) == f"./{value}"


@pytest.mark.parametrize("override", ["backbone.revision=1e5", "backbone.hub=7", "tracking.project=2024"])
def test_a_number_is_no_name(override: str) -> None:
    """`revision: str` would take 1e5 as "100000.0"; the way on that is shown works."""
    key, _, value = override.partition("=")
    (said,) = problems("tracking=wandb", override)
    (way,) = shlex.split(said.partition("quoted it is text: ")[2])
    assert "text is wanted" in said and get(compose(["tracking=wandb", way]), key) == value


def test_numbers_and_names_stay_what_they_are() -> None:
    chosen = compose(["method=pt", "seed=7", "runner.max_steps=3", "ledger.root=runs", "backbone.revision=null"])
    assert (chosen["seed"], chosen["ledger"]["root"], chosen["backbone"]["revision"]) == (7, "runs", None)


def test_a_folder_is_no_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would read the folder under the Hub's name."""
    (tmp_path / "gpt2").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("gpt2", "./gpt2", "./not/here", str(tmp_path / "gpt2")):
        (said,) = problems("method=pt", "backbone=hub", f"backbone.hub={name}")
        assert f"backbone.path={name}" in said and f"backbone.hub={name}" in said


@pytest.mark.parametrize(
    ("override", "under"),
    [
        ("runner.optimizer.decay_rate=0.5", "runner.optimizer.name=adafactor"),
        ("runner.schedule.factor_per_epoch=0.5", "runner.schedule.name=exponential"),
        ("method.init_text=Read this", "method.init=text"),
        ("method.init_text_eos=true", "method.init=text"),
    ],
)
def test_an_option_that_nothing_reads_here_names_no_run_of_its_own(override: str, under: str) -> None:
    other = ["method=pt", "method.init=sampled_vocabulary"]
    [said] = problems(*other, override)
    assert said.startswith(override.split("=")[0]) and f"read under {under} alone" in said
    chosen = compose([*other, override, under] if under.startswith("runner") else ["method=pt", override, under])
    assert str(get(chosen, override.split("=")[0])).lower() == override.split("=")[1].lower()
