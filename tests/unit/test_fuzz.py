"""A fuzzer of what users hand over: files for the readers and for new.py, and overrides; in one process.

Every input ends in a result or in a sentence of ours (DataError, ConfigError). A traceback is any other exception; a
raw error is a sentence that is none: empty, of many lines, or with Python's own words in it. The last line of its
output is the count; seen with `pytest -m slow -k fuzz -s`.
"""

from __future__ import annotations

import gzip
import json
import re
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conf.choices import groups
from conf.command import read as read_command
from conf.compose import compose
from conf.resolve import ConfigError
from results.identity import flatten
from scripts.new_rows import KINDS as NEW_KINDS
from scripts.new_task import task_files
from tasks.config import TaskConfig
from tasks.errors import DataError
from tasks.reading import SUFFIXES, read_rows
from tasks.rows import canonical
from tests.tasks_rig import task_of

RAW = re.compile(r"object at 0x|Traceback|\b[A-Z][a-z]\w*(?:Error|Exception)\b|Errno|NoneType' object|<class '")
INPUTS = {"files": 1400, "tasks": 1000, "overrides": 1500, "words": 100}
KINDS = ("glue/rte", "glue/stsb", "mrqa/squad", "ner/conll2003", "superglue/record", "mc/piqa")

hostile = st.sampled_from(
    ["", " ", "\u2028", "\ufeff", "\x00", "NaN", "Infinity", "-1", "1e999", "\\ud800", "{", "}", "[", '"', "'", ",",
     "\t",
     "\r", "\n", "\\", "${seed}", "${oc.env:HOME}", "B-PER", "O", "-DOCSTART- -X- O", "null", "9" * 5000, "x" * 200_000]
)  # fmt: skip
text = st.one_of(st.text(max_size=12), hostile)
scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.just(10**400))
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
names = st.sampled_from(
    [
        "text",
        "label",
        "answers",
        "question",
        "context",
        "tokens",
        "ner_tags",
        "id",
        "idx",
        "sentence1",
        "sentence2",
        "1",
        "",
        "a b",
    ]
)


def refused(problems: Any) -> None:
    """As run.py does, where it finds something wrong with its words."""
    if problems:
        raise ConfigError(list(problems))


class Tally:
    """What became of the inputs."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.worst: list[str] = []

    def __call__(self, what: str, act: Callable[[], Any]) -> Any:
        self.counts["inputs"] += 1
        try:
            return act()
        except (DataError, ConfigError) as error:
            said = str(error)
            for line in getattr(error, "problems", [said]):
                if not line.strip() or RAW.search(line.split("'")[0]) or line.count("\n") > 3 or len(line) > 3000:
                    self.counts["raw errors"] += 1
                    self.worst.append(f"{what}: {line[:300]!r}")
        except Exception:
            self.counts["tracebacks"] += 1
            self.worst.append(f"{what}: {traceback.format_exc()[-1500:]}")
        return None


def many(count: int) -> Any:
    return settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


rows = st.lists(st.dictionaries(names, value, min_size=1, max_size=4), min_size=0, max_size=6)
alike = st.builds(
    lambda keys, lines: [dict(zip(keys, line, strict=False)) for line in lines],
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.lists(st.lists(value, min_size=4, max_size=4), min_size=1, max_size=12),
)
lines = st.lists(
    st.one_of(text, st.lists(text, max_size=4).map(",".join), st.lists(text, max_size=4).map(" ".join)), max_size=8
)


@st.composite
def files(draw: Any) -> tuple[str, bytes]:
    """(suffix, content): rows, lines or noise, now and then damaged, cut or packed."""
    suffix = draw(st.sampled_from([*SUFFIXES, ".xlsx"]))
    made = draw(st.one_of(rows, alike))
    shape = draw(st.integers(0, 4))
    if shape == 0:
        content = draw(st.binary(max_size=80))
    elif shape == 1:
        content = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(draw(lines)).encode("utf-8", "replace")
    elif shape == 2:
        content = json.dumps(draw(st.sampled_from([made, {"data": made}, {"data": [{"paragraphs": made}]}]))).encode()
    else:
        content = "\n".join(json.dumps(row) for row in made).encode()
    if draw(st.booleans()):
        cut = draw(st.integers(0, max(1, len(content))))
        content = content[:cut] + draw(st.sampled_from([b"", b"\xff", b"\xef\xbb\xbf", b"\x00", b"[" * 3000]))
    if suffix.endswith(".gz") and draw(st.integers(0, 3)):
        content = gzip.compress(content, 1)[: None if draw(st.booleans()) else -3]
    return suffix, content


def try_files(tally: Tally, folder: Path) -> None:
    @many(INPUTS["files"])
    @given(made=files(), name=st.sampled_from(KINDS))
    def run(made: tuple[str, bytes], name: str) -> None:
        path = folder / f"rows{made[0]}"
        path.write_bytes(made[1])
        tally(f"file {made!r:.400}", lambda: canonical(task_of(name), "train", read_rows(path), str(path), []))

    run()


def try_tasks(tally: Tally, folder: Path) -> None:
    """What new.py makes of rows is read again by data=local's path."""

    @many(INPUTS["tasks"])
    @given(
        made=alike,
        shape=st.sampled_from([".jsonl", ".csv"]),
        kind=st.sampled_from([None, *NEW_KINDS]),
    )
    def run(made: list[dict[str, Any]], shape: str, kind: str | None) -> None:
        path = folder / f"mine{shape}"
        if shape == ".csv":
            table = [",".join(map(str, made[0])), *(",".join(str(v) for v in row.values()) for row in made)]
            path.write_text("\n".join(table), encoding="utf-8", errors="replace")
        else:
            path.write_text("\n".join(json.dumps(row) for row in made), encoding="utf-8")

        def act() -> None:
            found = task_files("mine", {"train": path}, label=None, kind=kind, fixture_rows=8)
            task = TaskConfig(**yaml.safe_load(found.texts["config", "user/mine.yaml"]))
            for (part, name), content in found.texts.items():
                if part == "data":
                    again = folder / Path(name).name
                    again.write_text(content, encoding="utf-8")
                    canonical(task, again.stem, read_rows(again), str(again), [])

        tally(f"new.py {path.read_text(encoding='utf-8', errors='replace')[:300]!r}", act)

    run()


def try_overrides(tally: Tally) -> None:
    keys = sorted(key for key, _ in flatten(compose([]))) + sorted(groups())
    written = st.one_of(
        hostile.filter(lambda t: len(t) < 100), st.text(max_size=8), st.integers().map(str), st.floats().map(str),
        st.lists(st.integers().map(str), max_size=3).map(lambda v: f"[{','.join(v)}]"),
        st.sampled_from(["null", "true", "{a:1}", "[a", "1,2", "range(1,3)", "glob(*)", "'x", "\"y\"", "{}", "abc"]),
    )  # fmt: skip
    one = st.one_of(
        st.builds("{}{}={}".format, st.sampled_from(["", "", "+", "++", "~"]), st.sampled_from(keys), written),
        st.builds(lambda key, v: f"{key}={v}", text.filter(lambda t: len(t) < 100), written),
        st.text(max_size=20),
    )  # fmt: skip

    @many(INPUTS["overrides"])
    @given(overrides=st.lists(one, min_size=1, max_size=3))
    def run(overrides: list[str]) -> None:
        tally(f"overrides {overrides!r}", lambda: compose(overrides))

    run()

    @many(INPUTS["words"])
    @given(words=st.lists(text, max_size=3))
    def flags(words: list[str]) -> None:
        tally(f"words {words!r:.200}", lambda: refused(read_command(words).problems))

    flags()


@pytest.mark.slow
def test_fuzz_readers_and_overrides(tmp_path: Path) -> None:
    tally = Tally()
    try_files(tally, tmp_path)
    try_tasks(tally, tmp_path)
    try_overrides(tally)
    counts = tally.counts
    print(f"\n{counts['inputs']} inputs, {counts['tracebacks']} tracebacks, {counts['raw errors']} raw errors")
    assert counts["inputs"] == sum(INPUTS.values()) == 4000
    assert not counts["tracebacks"] and not counts["raw errors"], "\n\n".join(tally.worst[:10])
