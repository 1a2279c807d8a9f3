"""Token ids: endings of the families, truncation that never cuts an answer, and the cache."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

import tasks.encode as encode_module
from backbones.tiny_tokenizer import tiny_tokenizer
from runners import progress
from tasks import encoded
from tasks.cache import key_of, rows_folder
from tasks.config import TOLD
from tasks.encode import IGNORE, encode
from tasks.encoded import encode_split, tokenizer_digest
from tasks.errors import DataError
from tasks.examples import Example
from tasks.kinds import kind_of
from tasks.task import load_task
from tasks.templates import Template
from tests.tasks_rig import FIXTURE, protocol_of, task_of

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=60)


@settings(max_examples=30, deadline=None)
@given(body=text, target=st.text("ab 01", min_size=1, max_size=9), limit=st.integers(12, 40))
@pytest.mark.parametrize("family", ["t5", "llama"])
def test_truncation_never_cuts_answer_or_cue(family: str, body: str, target: str, limit: int) -> None:
    tokenizer = tiny_tokenizer(family)
    suffix = " label:" if family == "llama" else ""
    example = Example("0", body + suffix, target, (target, target + "x"), 0, suffix=suffix)
    got = encode([example], tokenizer, family=family, max_source_length=limit)[0]
    whole = tokenizer(body + suffix)["input_ids"]
    lead = " " if family == "llama" else ""
    assert tokenizer.decode(got.target[:-1]) == lead + target and got.target[-1] == tokenizer.eos_token_id
    assert got.choices[0] == got.target and len(got.source) <= limit
    assert (got.source[-1] == tokenizer.eos_token_id) == (family == "t5")
    assert tokenizer.decode(got.source, skip_special_tokens=True).endswith(suffix)
    ended = len(whole) + (family == "t5" and whole[-1:] != [tokenizer.eos_token_id])
    assert got.truncated == (ended > limit)


def test_labels_may_begin_with_the_same_token() -> None:
    example = Example("0", "s label:", "0", ("0", "1"), 0, suffix=" label:")
    got = encode([example], tiny_tokenizer("llama"), family="llama", max_source_length=64)[0]
    assert got.choices[0] != got.choices[1] and all(c[-1] == tiny_tokenizer("llama").eos_token_id for c in got.choices)
    bare = encode([example], tiny_tokenizer("llama"), family="llama", max_source_length=64, answer_eos=False)[0]
    assert bare.target == got.target[:-1]


def test_encoder_sequences_and_choices() -> None:
    tokenizer = tiny_tokenizer("bert")
    example = Example("0", "", "0", ("0", "1"), 1, segments=(("a long premise " * 9, "one"), ("short", "two")))
    got = encode([example], tokenizer, family="encoder", max_source_length=20)[0]
    assert [len(s) <= 20 for s in got.segments] == [True, True] and got.truncated and got.label == 1
    assert tokenizer.decode(got.segments[1]) == "[CLS]short[SEP]two[SEP]"
    assert "one" in tokenizer.decode(got.segments[0])  # the longer text is cut first


def test_tags_stand_on_first_sub_tokens_and_lost_words_are_counted() -> None:
    names = ["O", "B-PER", "I-PER"]
    words, tags = ("Christabella", "\u200b", "Featherstonehaugh", "left"), ("B-PER", "O", "I-PER", "O")
    example = Example("0", "", "", words=words, tags=tags)
    options = {"family": "encoder", "tag_names": names}
    got = encode([example], tiny_tokenizer("bert"), max_source_length=64, **options)[0]
    assert [got.tags[i] for i in got.word_starts] == [1, 0, 2, 0] and not got.truncated
    assert sum(t != IGNORE for t in got.tags) == 4 and len(got.tags) == len(got.segments[0])
    short = encode([example], tiny_tokenizer("bert"), max_source_length=6, **options)[0]
    assert short.truncated and short.lost_words == 4 - len(short.word_starts) > 0


def test_a_slow_tokenizer_encodes_text_and_cannot_tag() -> None:
    slow = ByT5Tokenizer()
    example = Example("0", "a film, dull", "no", choices=("no", "yes"))
    got = encode([example], slow, family="t5", max_source_length=64)[0]
    assert got.source == slow("a film, dull")["input_ids"] and got.source[-1] == 1
    assert got.target == slow("no")["input_ids"] and got.choices == [slow(w)["input_ids"] for w in ("no", "yes")]
    short = encode([example], slow, family="t5", max_source_length=5)[0]
    assert short.source == [*got.source[:4], 1] and short.truncated
    with pytest.raises(DataError, match="ByT5Tokenizer does not tell"):
        encode([example], slow, family="encoder", max_source_length=8, tag_names=["O", "B-PER"])
    assert tokenizer_digest(slow) == tokenizer_digest(ByT5Tokenizer()) != tokenizer_digest(ByT5Tokenizer(extra_ids=7))


CASES = [
    ("superglue/boolq", "llama", "dept"),
    ("superglue/copa", "encoder", "carved"),
    ("superglue/record", "t5", "carved"),
    ("ner/wnut17", "encoder", "official"),
    ("glue/stsb", "t5", "dept"),
    ("mrqa/squad", "t5", "lester"),
]


@pytest.mark.parametrize(("name", "family", "protocol"), CASES)
def test_cached_splits_equal_fresh_ones(
    name: str, family: str, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(name)
    data = load_task(task, protocol_of(protocol), FIXTURE, family=family, cache_root=tmp_path)
    tokenizer = tiny_tokenizer("bert" if family == "encoder" else family)
    options = {
        "family": family,
        "max_source_length": 24,
        "tag_names": kind_of(task).tag_names(task),
    }
    fresh = encode(data.splits["train"], tokenizer, **options)
    kept = {"data_sha256": data.report["sha256"], "cache_root": tmp_path}
    assert list(encode_split(data.splits["train"], tokenizer, **options)) == fresh
    assert list(encode_split(data.splits["train"], tokenizer, **options, **kept)) == fresh
    monkeypatch.setattr(encoded, "encode_batches", lambda *args, **kwargs: pytest.fail("encoded twice"))
    again = encode_split(data.splits["train"], tokenizer, **options, **kept)
    assert list(again) == fresh and again[2:5] == fresh[2:5] and again[-1] == fresh[-1]
    assert again.truncated_share == pytest.approx(np.mean([e.truncated for e in fresh]))
    lengths = [len(e.source) + len(e.target) + sum(map(len, e.segments)) for e in fresh]
    assert again.lengths.tolist() == lengths
    monkeypatch.undo()
    for split in data.splits.values():  # a fixture's validation and test are of one size, places and ids the same
        assert list(encode_split(split, tokenizer, **options, **kept)) == encode(split, tokenizer, **options)
    monkeypatch.setattr(encoded, "encode_batches", lambda *args, **kwargs: pytest.fail("encoded twice"))
    with pytest.raises(pytest.fail.Exception, match="encoded twice"):  # another length is another key
        encode_split(data.splits["train"], tokenizer, **(options | {"max_source_length": 25}), **kept)
    with pytest.raises(pytest.fail.Exception, match="encoded twice"):  # so are other rows
        encode_split(data.splits["train"][:3], tokenizer, **options, **kept)


def test_tokenising_shows_how_far_it_is_and_a_second_time_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(encode_module, "BATCH", 3)
    data = load_task(task_of("superglue/boolq"), protocol_of("carved"), FIXTURE, family="t5", cache_root=tmp_path)
    split = data.splits["train"][:8]
    watched = partial(progress.counted, "tokenise train", len(split))
    options = {"family": "t5", "max_source_length": 24, "data_sha256": "x", "cache_root": tmp_path, "watched": watched}
    plain = encode(split, tiny_tokenizer("t5"), family="t5", max_source_length=24)
    assert list(encode_split(split, tiny_tokenizer("t5"), **options)) == plain  # type: ignore[arg-type]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"tokenise train: row {n} of 8" for n in (3, 6, 8)]
    assert list(encode_split(split, tiny_tokenizer("t5"), **options)) == plain  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("config", ["task", "protocol"])
def test_whatever_field_changes_nothing_is_taken_from_a_cache(config: str, tmp_path: Path) -> None:
    """Rows and token ids are kept under everything that they may be made with; a field that came later counts too."""
    template = Template(task_of("superglue/boolq"), protocol_of("carved"), "t5")
    before = getattr(template, config)
    named = key_of(template.identity()), rows_folder(template.task, "local", "1", tmp_path)
    for field in fields(before):
        setattr(template, config, replace(before, **{field.name: "another"}))
        same = key_of(template.identity()) == named[0], rows_folder(template.task, "local", "1", tmp_path) == named[1]
        assert same == ((field.name in TOLD,) * 2 if config == "task" else (field.name in TOLD, True)), field.name


def test_the_cue_of_a_row_that_is_cut_has_the_tokens_that_it_has_in_one_that_is_not() -> None:
    """LLaMA's SentencePiece form puts a space in front of whatever it is given."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.train_from_iterator(
        ["label: 0", "a b c label: 1", "  x"] * 9, trainers.BpeTrainer(special_tokens=["<unk>", "</s>"])
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")
    example = Example("0", "a b c " * 20 + "a label:", "0", suffix=" label:")
    whole, cut = (encode([example], tokenizer, family="llama", max_source_length=n)[0].source for n in (500, 20))
    told = [tokenizer.convert_ids_to_tokens(ids) for ids in (whole, cut)]
    assert len(cut) == 20 < len(whole) and told[0][-1] == told[1][-1] and "▁" not in told[1]
    assert "".join(told[1]) == "".join(told[0])[: len("".join(told[1])) - len("▁label:")] + "▁label:"


def test_a_row_that_makes_no_token_is_refused() -> None:
    """A decoder-only model without BOS would be asked what follows padding."""
    tokenizer = tiny_tokenizer("t5")  # of a decoder-only model here: nothing stands in front
    with pytest.raises(DataError, match="row 7: its text '' makes no token"):
        encode([Example("7", "", "0")], tokenizer, family="llama", max_source_length=9)
