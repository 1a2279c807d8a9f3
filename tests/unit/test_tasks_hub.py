"""The Hub as a source, its two libraries stood in for: what is asked of them, in which order, what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

from tasks.config import TaskConfig
from tasks.errors import SourceUnavailable
from tasks.hub import load_hub

COMMIT = "c0ffee" * 6


class Hub:
    """Stands for the Hub: repositories by id; everything that is asked is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, served: dict[str, Any]) -> None:
        self.served, self.asked = served, []
        monkeypatch.setattr(datasets, "load_dataset", self.load)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(dataset_info=self.info))

    def info(self, name: str, revision: str, timeout: float) -> SimpleNamespace:
        self.asked.append(("commit of", name, revision))
        if name not in self.served:
            raise ConnectionError(f"no repository {name}")
        return SimpleNamespace(sha=COMMIT)

    def load(self, name: str, config: str | None = None, **options: Any) -> DatasetDict:
        self.asked.append(("rows of", name, config, options))
        found = self.served.get(name, self.served.get(config or "", self.served.get("any")))
        if isinstance(found, Exception):
            raise found
        return found


def task(**hub: Any) -> TaskConfig:
    return TaskConfig(name="suite/name", kind="classification", hub={"fallbacks": [], **hub})


def rows(**columns: list[Any]) -> DatasetDict:
    return DatasetDict({"train": Dataset.from_dict(columns), "test": Dataset.from_dict(columns)})


def test_a_branch_is_read_at_the_commit_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, {"a/b": rows(text=["x"], label=[1])})
    splits, place, fingerprint, notes = load_hub(task(id="a/b", config="c", revision="main"))
    assert hub.asked == [("commit of", "a/b", "main"), ("rows of", "a/b", "c", {"revision": COMMIT})]
    assert (place, fingerprint, notes) == ("a/b@main", {"hub": "a/b@main", "commit": COMMIT}, [])
    assert list(splits["test"]) == [{"text": "x", "label": 1}]


def test_fallbacks_come_in_order_and_do_not_inherit_the_files_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(
        monkeypatch, {"a/script": RuntimeError("Dataset scripts are no longer supported"), "a/good": rows(t=["x"])}
    )
    chosen = task(
        id="a/script", config="c", revision="main", rename={"t": "u"},
        fallbacks=[{"id": "a/gone", "revision": "main"}, {"id": "a/good", "revision": "refs/convert/parquet"}],
    )  # fmt: skip
    splits, place, _, notes = load_hub(chosen)
    assert place == "a/good@refs/convert/parquet" and list(splits["train"]) == [{"t": "x"}]
    assert [note.split(":")[0] for note in notes] == ["a/script@main", "a/gone@main"]
    assert "no longer supported" in notes[0] and "no repository a/gone" in notes[1]
    assert hub.asked[-1][2] == "c"  # a fallback without a config of its own keeps the task's


def test_where_nothing_answers_every_place_and_the_ways_on_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, {})
    with pytest.raises(SourceUnavailable) as caught:
        load_hub(task(id="a/b", fallbacks=[{"id": "a/c", "revision": "x"}]))
    assert all(part in str(caught.value) for part in ("a/b@main", "a/c@x", "data=local data.root=", "data=fixture"))


def test_raw_files_with_tag_names_beside_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = tmp_path / "label.json"
    names.write_text(json.dumps({"B-PER": 1, "O": 0, "I-PER": 2}))
    hub = Hub(monkeypatch, {"a/b": None, "any": rows(tokens=[["Ann", "Lee", "ran"]], tags=[[1, 2, 0]])})
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: (hub.asked.append((a, k)), str(names))[1])
    splits, *_ = load_hub(
        task(id="a/b", revision="main", data_files={"train": ["d/0.json", "d/1.json"], "test": "d/t.json"},
             tag_file="d/label.json", rename={"tags": "ner_tags"})
    )  # fmt: skip
    (row,) = splits["train"]
    assert row["ner_tags"] == ["B-PER", "I-PER", "O"]
    base = f"hf://datasets/a/b@{COMMIT}/"
    expected = {"train": [base + "d/0.json", base + "d/1.json"], "test": [base + "d/t.json"]}
    assert hub.asked[1] == ("rows of", "json", None, {"data_files": expected})
    assert hub.asked[2] == (("a/b", "d/label.json"), {"revision": COMMIT, "repo_type": "dataset"})


def test_tag_ids_take_the_names_of_their_own_features(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = Sequence(ClassLabel(names=["O", "B-LOC"]))
    made = Dataset.from_dict({"tokens": [["in", "Oslo"]], "ner_tags": [[0, 1]]},
                             features=Features({"tokens": Sequence(Value("string")), "ner_tags": tags}))  # fmt: skip
    Hub(monkeypatch, {"a/b": DatasetDict({"train": made})})
    assert [row["ner_tags"] for row in load_hub(task(id="a/b"))[0]["train"]] == [["O", "B-LOC"]]


def test_entity_spans_become_tags_and_a_subset_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = [[{"type": "Loc", "start": 1, "end": 2}], []]
    Hub(monkeypatch, {"a/b": rows(tokens=[["in", "Oslo"], ["no"]], entities=spans, subset=["x", "y"])})
    splits, *_ = load_hub(task(id="a/b", where={"subset": "x"}))
    assert [row["ner_tags"] for row in splits["train"]] == [["O", "B-Loc"]]


def test_splits_are_renamed_and_absent_ones_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, {"a/b": rows(t=["x"])})
    splits, *_ = load_hub(task(id="a/b", splits={"train": "train", "validation": "test", "test": "hidden"}))
    assert set(splits) == {"train", "validation"}


def test_a_folder_of_that_name_is_not_read_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets would take ./super_glue for the Hub's."""
    hub = Hub(monkeypatch, {"super_glue": rows(text=["x"], label=[1])})
    (tmp_path / "super_glue").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceUnavailable, match="super_glue is a folder here"):
        load_hub(task(id="super_glue", revision="main"))
    assert [asked[0] for asked in hub.asked] == ["commit of"]
