"""Controls beside a method: names that no table confuses, permuted gold, the nearest rank, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.compose import compose, typed
from conf.plan import make_plan
from results.controls import base, named, overrides
from results.standing import told
from runners.controls import nearest_rank, with_controls
from runners.data import load_data
from runners.problems import problems_of
from tasks.config import TaskConfig
from tasks.permuted import permuted
from tasks.task import Examples

TINY = ["task=demo/movie_reviews", "data=fixture", "runner=smoke"]


class Template:
    """Row -> Example is not asked for here."""

    def __call__(self, row: dict[str, Any], variant: int) -> Any:
        raise AssertionError


class Table:
    """Rows as a Dataset gives them."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, str):
            return [row[at] for row in self.rows]
        if isinstance(at, int):
            return dict(self.rows[at])
        found = self.rows[at] if isinstance(at, slice) else [self.rows[i] for i in at]
        return {key: [row[key] for row in found] for key in self.rows[0]}


def labelled(labels: list[int]) -> tuple[TaskConfig, Examples]:
    task = TaskConfig("user/x", "classification", columns={"text": "text", "label": "label"}, labels=["a", "b", "c"])
    rows = Table([{"text": str(i), "label": label} for i, label in enumerate(labels)])
    return task, Examples(rows, [(i, 0) for i in range(len(labels))], Template(), "train")  # type: ignore[arg-type]


@settings(max_examples=60)
@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=40), seed=st.integers(0, 2**32 - 1))
def test_gold_is_dealt_out_anew_and_nothing_else_changes(labels: list[int], seed: int) -> None:
    task, train = labelled(labels)
    made, changed = permuted(task, train, seed)
    assert sorted(made.rows["label"]) == sorted(labels) and made.rows["text"] == train.rows["text"]
    assert changed == sum(a != b for a, b in zip(made.rows["label"], labels, strict=True))
    assert [made.rows[i]["label"] for i in range(len(labels))] == made.rows["label"]
    assert made.rows[list(range(len(labels)))]["label"] == made.rows["label"] == made.rows[:]["label"]
    assert permuted(task, train, seed)[0].rows["label"] == made.rows["label"]


def test_the_seed_draws_the_permutation() -> None:
    task, train = labelled([0, 1] * 20)
    assert permuted(task, train, 1)[0].rows["label"] != permuted(task, train, 2)[0].rows["label"]


def test_tags_go_to_sentences_of_as_many_words() -> None:
    task = TaskConfig("user/ner", "tagging", columns={"words": "words", "tags": "tags"}, labels=["X"])
    tags = [["B-X"], ["O"], ["O", "B-X"], ["B-X", "O"], ["O", "O", "O"], ["O"], ["B-X"]]
    rows = Table([{"words": ["w"] * len(t), "tags": t} for t in tags])
    made, changed = permuted(task, Examples(rows, [(i, 0) for i in range(7)], Template(), "train"), 3)  # type: ignore[arg-type]
    assert [len(t) for t in made.rows["tags"]] == [len(t) for t in tags]
    assert made.rows["tags"][4] == tags[4] and sorted(map(str, made.rows["tags"])) == sorted(map(str, tags))
    assert changed == sum(a != b for a, b in zip(made.rows["tags"], tags, strict=True))


def test_rows_that_are_not_trained_on_give_no_gold() -> None:
    task, train = labelled([0, 0, 1, 1, 2, 2, 2, 2])
    made, _ = permuted(task, train.take([0, 1, 2, 3]), 5)
    assert sorted(made.rows["label"][:4]) == [0, 0, 1, 1] and made.rows["label"][4:] == [2, 2, 2, 2]


@pytest.mark.parametrize("family", ["tiny_t5", "tiny_llama", "tiny_bert"])
def test_shuffled_training_rows_are_other_examples_under_another_key(family: str, tmp_path: Any) -> None:
    from backbones.load import load_tokenizer
    from runners.data import encode_splits

    given = [*TINY, f"backbone={family}", "method=pt", f"cache.root={tmp_path}"]
    plain, control = (typed(compose([*given, *more])) for more in ([], ["control=shuffled_labels"]))
    true, shuffled = load_data(plain), load_data(control)
    assert "permuted (seed 42)" in shuffled.report["control"] and "control" not in true.report
    for role in ("validation", "test"):
        assert list(true.splits[role]) == list(shuffled.splits[role])
    gold = [[e.label for e in data.splits["train"]] for data in (true, shuffled)]
    assert gold[0] != gold[1] and sorted(gold[0]) == sorted(gold[1])
    assert [e.source for e in true.splits["train"]] == [e.source for e in shuffled.splits["train"]]
    tokenizer = load_tokenizer(plain.backbone, tmp_path)
    for data, labels in zip((true, shuffled), gold, strict=True):  # with one cache: the second is not the first
        encoded = encode_splits(plain, data, tokenizer)["train"].encoded
        assert [row.label for row in encoded] == labels


@given(wanted=st.integers(1, 10**7), one=st.integers(1, 10**5))
def test_no_other_rank_is_nearer(wanted: int, one: int) -> None:
    rank = nearest_rank(wanted, one)
    assert rank >= 1
    for other in (rank - 1, rank + 1):
        if other >= 1:
            assert abs(rank * one - wanted) <= abs(other * one - wanted)


@pytest.mark.parametrize(("control", "name"), [
    (None, "dept"), ("shuffled_labels", "dept, shuffled labels (control)"),
    ("random_prompt", "dept, random prompt (control)"),
])  # fmt: skip
def test_a_control_is_never_called_as_its_method(control: str | None, name: str) -> None:
    assert named({"name": "dept"}, control) == name and base(name) == "dept"
    assert overrides(name) == {"method": "dept"} | ({"control": control} if control else {})


def test_lora_of_two_ranks_is_two_rows_and_a_method_from_an_abstract_is_called_so() -> None:
    assert named({"name": "lora", "rank": 3}, "matched_lora") == "lora r=3, parameter-matched (control)"
    found = overrides("lora r=3, parameter-matched (control)")
    assert found == {"method": "lora", "control": "matched_lora", "method.rank": "3", "method.alpha": "6"}
    assert told("sesom, random prompt (control)", "x") == "x, after the abstract"


def planned(*given: str) -> Any:
    plan = make_plan([*TINY, "+sweep=controls", *given])
    assert plan.problems == []
    return with_controls(plan)


def test_every_method_gets_its_controls_each_with_an_id_of_its_own() -> None:
    plan = planned("backbone=tiny_bert", "method=pt,dept")
    controls = [(p.config.method["name"], p.config.control) for p in plan.points]
    assert controls == [
        ("pt", None), ("pt", "shuffled_labels"), ("pt", "random_prompt"), ("head_only", None), ("lora", "matched_lora"),
        ("dept", None), ("dept", "shuffled_labels"), ("dept", "random_prompt"), ("lora", "matched_lora"),
    ]  # fmt: skip
    assert len({p.run_id for p in plan.points}) == len(plan.points) == 9
    assert [n for n in plan.notes if "rank 12 trains 6,144 parameters; pt 6,400" in n]
    assert not [n for n in plan.notes if "one point" in n]


def test_what_makes_no_sense_is_left_out_with_a_sentence() -> None:
    plan = planned("backbone=tiny_t5", "method=lora,none")
    assert [(p.config.method["name"], p.config.control) for p in plan.points] == [
        ("lora", None), ("lora", "shuffled_labels"), ("none", None),
    ]  # fmt: skip
    said = " ".join(plan.notes)
    for part in ("no prompt or prefix", "no task head", "it is LoRA", "method=none has no controls"):
        assert part in said


@pytest.mark.parametrize(("given", "wanted"), [
    (["method=none", "control=shuffled_labels"], "nothing is trained"),
    (["method=bitfit", "control=random_prompt"], "no prompt or prefix"),
    (["method=dept", "control=matched_lora"], "LoRA itself"),
    (["method=pt", "method.init=text", "control=random_prompt"], "method.init=text is not drawn"),
])  # fmt: skip
def test_controls_without_a_sense_are_refused(given: list[str], wanted: str) -> None:
    found = problems_of(typed(compose([*TINY, "backbone=tiny_t5", *given])))
    assert len(found) == 1 and wanted in found[0]


def test_a_run_without_a_control_keeps_its_id() -> None:
    from results.identity import choices_that_count

    config = compose([*TINY, "backbone=tiny_t5"])
    assert config["control"] is None and "control" not in choices_that_count(config)
    assert choices_that_count(config | {"control": "shuffled_labels"})["control"] == "shuffled_labels"
