"""Token ids of a whole split as memory-mapped arrays: made once per (data, template, tokenizer, lengths)."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tasks.cache import FORMAT, build_once, code_sha256, key_of
from tasks.encode import Encoded, encode_batches

if TYPE_CHECKING:
    from tasks.task import Examples

LISTS = ("source", "target", "tags", "word_starts")  # one list of ids per example
NESTED = ("choices", "segments", "token_types")  # several lists of ids per example
SCALARS = ("truncated", "lost_words", "tokens")


@dataclass
class Ragged:
    """Lists of different lengths in one flat array; list ``i`` is ``flat[ends[i]:ends[i + 1]]``."""

    flat: np.ndarray
    ends: np.ndarray

    def __getitem__(self, i: int) -> list[int]:
        return self.flat[self.ends[i] : self.ends[i + 1]].tolist()

    def lengths(self) -> np.ndarray:
        """The length of every list."""
        return np.diff(self.ends)


class EncodedSplit(Sequence[Encoded]):
    """Encoded examples, built from the arrays when asked for.

    Attributes:
        lengths: tokens of each example (source and target, or all its segments), for batches by length.
        truncated_share: share of examples that truncation touched.
        lost_words: words of tagged sentences that did not fit.
        key: of rows, template, tokenizer and lengths: splits of one key hold the same ids; empty where none was taken.
    """

    def __init__(self, arrays: dict[str, np.ndarray], about: dict[str, Any], key: str = "") -> None:
        self.key = key
        self._ids, self._label, self._kind = arrays["ids"], arrays["label"], about["label"]
        self._scalars = {name: arrays[name] for name in SCALARS}
        self._lists = {name: Ragged(arrays[name], arrays[f"{name}_ends"]) for name in LISTS}
        self._inner = {name: Ragged(arrays[name], arrays[f"{name}_ends"]) for name in NESTED}
        self._outer = {name: arrays[f"{name}_outer"] for name in NESTED}
        self._choices: list[list[int]] | None = about["choices"]  # the same for every example, kept once
        self.truncated_share = float(self._scalars["truncated"].mean()) if len(self._ids) else 0.0
        self.lost_words = int(self._scalars["lost_words"].sum())

    @property
    def cut_from(self) -> np.ndarray:
        """Tokens that each truncated example had before it was cut, sorted."""
        return np.sort(self._scalars["tokens"][np.asarray(self._scalars["truncated"])])

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example."""
        segments = np.concatenate([[0], np.cumsum(self._inner["segments"].lengths())])[self._outer["segments"]]
        return self._lists["source"].lengths() + self._lists["target"].lengths() + np.diff(segments)

    @property
    def largest_id(self) -> int:
        """The largest token id of all texts and answers, -1 where there is none."""
        flat = [self._lists["source"].flat, self._lists["target"].flat]
        flat += [self._inner["choices"].flat, self._inner["segments"].flat]
        shared = [token for choice in self._choices or [] for token in choice]
        return max([-1, *shared, *(int(ids.max()) for ids in flat if len(ids))])

    @overload
    def __getitem__(self, at: int) -> Encoded: ...
    @overload
    def __getitem__(self, at: slice) -> list[Encoded]: ...
    def __getitem__(self, at: int | slice) -> Encoded | list[Encoded]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        nested = {name: self._nested(name, at) for name in NESTED}
        if self._choices is not None:
            nested["choices"] = [list(c) for c in self._choices]
        value = self._label[at]
        return Encoded(
            id=str(self._ids[at]),
            label=None if self._kind == "none" else int(value) if self._kind == "int" else float(value),
            truncated=bool(self._scalars["truncated"][at]),
            lost_words=int(self._scalars["lost_words"][at]),
            tokens=int(self._scalars["tokens"][at]),
            source=self._lists["source"][at],
            target=self._lists["target"][at],
            tags=self._lists["tags"][at],
            word_starts=self._lists["word_starts"][at],
            choices=nested["choices"],
            segments=nested["segments"],
            token_types=nested["token_types"],
        )

    def _nested(self, name: str, at: int) -> list[list[int]]:
        outer = self._outer[name]
        return [self._inner[name][i] for i in range(outer[at], outer[at + 1])]


def arrays_of(batches: Iterable[list[Encoded]]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays (and what is said once for all examples) of encoded batches."""
    parts: dict[str, list[np.ndarray]] = {}
    common: set[tuple[tuple[int, ...], ...]] = set()
    kinds: set[str] = set()
    for batch in batches:
        for name, values in _batch_arrays(batch).items():
            parts.setdefault(name, []).append(values)
        if len(common) < 2:
            common |= {tuple(tuple(c) for c in e.choices) for e in batch}
        kinds |= {"none" if e.label is None else type(e.label).__name__ for e in batch}
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    same = [list(c) for c in common.pop()] if len(common) == 1 else None
    if same is not None:
        arrays["choices"], arrays["choices_ends"] = arrays["choices"][:0], arrays["choices_ends"][:0]
        arrays["choices_outer"] = np.zeros_like(arrays["choices_outer"])
    for name, values in arrays.items():
        if name.endswith(("_ends", "_outer")):
            arrays[name] = np.concatenate([[0], np.cumsum(values)]).astype(np.int64)
    return arrays, {"choices": same, "label": "none" if "none" in kinds else "float" if "float" in kinds else "int"}


def _batch_arrays(batch: list[Encoded]) -> dict[str, np.ndarray]:
    """Flat values and, under ``*_ends`` and ``*_outer``, still plain lengths."""
    made = {
        "ids": np.array([e.id for e in batch]),
        "label": np.array([0.0 if e.label is None else e.label for e in batch], dtype=np.float64),
        "truncated": np.array([e.truncated for e in batch], dtype=bool),
        "lost_words": np.array([e.lost_words for e in batch], dtype=np.int32),
        "tokens": np.array([e.tokens for e in batch], dtype=np.int32),
    }
    for name in LISTS:
        lists = [getattr(e, name) for e in batch]
        made[name] = np.array([t for ids in lists for t in ids], dtype=np.int32)
        made[f"{name}_ends"] = np.array([len(ids) for ids in lists], dtype=np.int64)
    for name in NESTED:
        nested = [getattr(e, name) for e in batch]
        made[name] = np.array([t for lists in nested for ids in lists for t in ids], dtype=np.int32)
        made[f"{name}_ends"] = np.array([len(ids) for lists in nested for ids in lists], dtype=np.int64)
        made[f"{name}_outer"] = np.array([len(lists) for lists in nested], dtype=np.int64)
    return made


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash of everything that a tokenizer does, apart from the truncation and padding of its last call."""
    if not getattr(tokenizer, "is_fast", False):  # its class is code of transformers
        made = {k: str(v) for k, v in tokenizer.init_kwargs.items() if k not in ("name_or_path", "vocab_file")}
        known = [type(tokenizer).__name__, importlib.metadata.version("transformers"), sorted(made.items())]
        known += [sorted(tokenizer.get_vocab().items()), tokenizer.bos_token_id, tokenizer.eos_token_id]
        return hashlib.sha256(repr(known).encode()).hexdigest()
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    whole = (
        backend.to_str() + repr((tokenizer.bos_token_id, tokenizer.eos_token_id)) + getattr(tokenizer, "word_lead", "")
    )
    return hashlib.sha256(whole.encode()).hexdigest()


def encode_split(
    examples: Examples,
    tokenizer: Any,
    *,
    family: str,
    max_source_length: int,
    max_target_length: int | None = None,
    source_tokens: int | None = None,
    answer_eos: bool = True,
    tag_names: Sequence[str] = (),
    data_sha256: str = "",
    cache_root: str | Path | None = None,
    watched: Callable[[Iterator[list[Encoded]]], Iterable[list[Encoded]]] = iter,
) -> EncodedSplit:
    """Encode a split, or map it from the cache where the same was encoded before.

    Args:
        data_sha256: the observed content hash (``TaskData.report["sha256"]``); without it nothing is cached.
        cache_root: where the cache lies; ``None`` keeps the arrays in memory.
        watched: passes the batches on and shows how far they are; not called where the cache has the split.
    """
    options: dict[str, Any] = {
        "family": family, "max_source_length": max_source_length, "max_target_length": max_target_length,
        "answer_eos": answer_eos, "tag_names": list(tag_names), "source_tokens": source_tokens,
    }  # fmt: skip
    if cache_root is None or not data_sha256:
        return EncodedSplit(*arrays_of(watched(encode_batches(examples, tokenizer, **options))))
    dealt = str(getattr(examples.rows, "digest", ""))  # rows with another gold than the data's (tasks/permuted.py)
    items = hashlib.sha256(np.asarray(examples.items, dtype=np.int64).tobytes() + dealt.encode()).hexdigest()
    # places in a split say nothing of its rows without its name: validation and test may be of one size
    rows = [data_sha256, examples.split, items]
    key = key_of(FORMAT, code_sha256(), rows, examples.template.identity(), tokenizer_digest(tokenizer), options)

    def build(scratch: Path) -> None:
        arrays, about = arrays_of(watched(encode_batches(examples, tokenizer, **options)))
        for name, values in arrays.items():
            np.save(scratch / f"{name}.npy", values)
        (scratch / "about.json").write_text(json.dumps(about), encoding="utf-8")

    folder = build_once(Path(cache_root) / "encoded" / key, build)
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    return EncodedSplit(arrays, json.loads((folder / "about.json").read_text(encoding="utf-8")), key)
