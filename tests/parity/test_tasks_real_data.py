"""Real data in the local layout (not part of the project): row counts, labels and splits of the published sets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tasks.config import DataConfig
from tasks.entities import spans
from tasks.task import load_task
from tests.tasks_rig import protocol_of, shared_data, task_of

# train, validation, test rows under protocol=dept, whole sets only
WHOLE = {
    "glue/cola": (8551, 521, 522),
    "glue/mrpc": (3668, 204, 204),
    "glue/rte": (2490, 138, 139),
    "glue/sst2": (66349, 1000, 872),
    "glue/stsb": (5749, 750, 750),
    "superglue/boolq": (9427, 1635, 1635),
    "superglue/cb": (250, 28, 28),
    "superglue/copa": (400, 50, 50),
    "superglue/multirc": (27243, 2424, 2424),
    "superglue/rte": (2490, 138, 139),
    "superglue/wic": (5428, 319, 319),
    "superglue/wsc": (554, 52, 52),
    "ner/conll2003": (14041, 3250, 3453),
    "ner/wnut17": (3394, 1009, 1287),
    "ner/wikiann_en": (20000, 10000, 10000),
}
SUBSETS = [
    "glue/mnli",
    "glue/qnli",
    "mrqa/squad",
    "mrqa/hotpotqa",
    "ner/conll04",
    "other/winogrande",
    "superglue/record",
]


def loaded(name: str, protocol: str, cache: Path, family: str = "t5"):
    data = DataConfig(source="local", root=str(shared_data()))
    return load_task(task_of(name), protocol_of(protocol), data, family=family, fidelity="author", cache_root=cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_whole_sets_split_as_published(name: str, cache: Path) -> None:
    data = loaded(name, "dept", cache)
    assert tuple(data.report["rows"].values()) == WHOLE[name] and data.report["verdicts"] == []
    for examples in data.splits.values():
        assert all(e.source and e.target for e in examples[:50])


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBSETS)
def test_subsets_say_that_they_are_none_of_the_published(name: str, cache: Path) -> None:
    verdicts = loaded(name, "dept", cache).report["verdicts"]
    assert verdicts and any("published" in v for v in verdicts)


@pytest.mark.slow
def test_what_the_papers_say_of_single_sets(cache: Path) -> None:
    majority = Counter(e.label for e in loaded("superglue/wsc", "dept", cache).splits["test"])
    assert majority[0] == 35  # the score that most methods share in the DePT family's table
    assert len(loaded("superglue/wsc", "lester", cache).splits["train"]) == 259  # the true rows
    boolq = loaded("superglue/boolq", "carved", cache).splits["train"].rows
    assert Counter(boolq["label"]) == {"True": 5874, "False": 3553}
    test = loaded("ner/conll2003", "official", cache, "encoder").splits["test"]
    assert Counter(kind for e in test for kind, *_ in spans(e.tags)) == {
        "LOC": 1668, "MISC": 702, "ORG": 1661, "PER": 1617,
    }  # fmt: skip
