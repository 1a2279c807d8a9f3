"""Example -> Encoded: token ids as plain lists, by batched fast tokenizers; padding is the backbone's work.

Truncation never cuts an answer, a label or a decoder's cue: targets are tokenised apart from sources, and a source
that is too long loses the end of its body, never its suffix. What was cut is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.errors import DataError
from tasks.examples import Example
from tasks.families import family as traits_of
from tasks.plain_text import PlainText

IGNORE = -100  # the label of what no loss is taken over
BATCH = 1000


@dataclass
class Encoded:
    """One example as token ids.

    Attributes:
        source: T5: ends with EOS; LLaMA: no EOS (BOS where the tokenizer has one).
        target: ends with EOS where the family ends answers with it.
        choices: every candidate answer, encoded like a target.
        segments, token_types: encoders: one id list per sequence (one, or one per choice).
        tags: tagging: tag id at the first sub-token of each word, -100 elsewhere.
        word_starts: tagging: position of each kept word's first sub-token.
        lost_words: tagging: words that truncation dropped (their gold entities still count).
        tokens: tokens of the source (an encoder: of its longest sequence) before truncation.
    """

    id: str
    source: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    label: int | float | None = None
    truncated: bool = False
    segments: list[list[int]] = field(default_factory=list)
    token_types: list[list[int]] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    word_starts: list[int] = field(default_factory=list)
    lost_words: int = 0
    tokens: int = 0


def encode(examples: Iterable[Example], tokenizer: Any, **options: Any) -> list[Encoded]:
    """Encode examples into one list; see :func:`encode_batches` for the options."""
    return [encoded for batch in encode_batches(examples, tokenizer, **options) for encoded in batch]


def encode_batches(
    examples: Iterable[Example],
    tokenizer: Any,
    *,
    family: str,
    max_source_length: int,
    max_target_length: int | None = None,
    source_tokens: int | None = None,
    answer_eos: bool = True,
    tag_names: Sequence[str] = (),
) -> Iterator[list[Encoded]]:
    """Encode examples in batches of 1,000; a fast tokenizer spreads each over every core.

    Args:
        tokenizer: a tokenizer of transformers; fast ones spread their work.
        max_source_length: tokens of a source (EOS and BOS counted) or of an encoder's sequence.
        max_target_length: cap on targets as an author's code has it; ``None`` never cuts them.
        source_tokens: a second cut, at whatever token stands there, EOS or cue (Residual Prompt Tuning's code cuts
            [prompt; source] as one); ``None`` = none.
        answer_eos: end answers with EOS.
        tag_names: IOB2 tags in the order of their ids (tagging with an encoder; ``Kind.tag_names``).

    Raises:
        DataError: tagging with a tokenizer that does not tell which word a token belongs to.
    """
    writes = traits_of(family).writes
    if tag_names and not writes and not getattr(tokenizer, "is_fast", False):
        raise DataError(
            f"tagging needs to know which word a token belongs to, and {type(tokenizer).__name__} does not tell (it is "
            "a slow tokenizer); give a folder with tokenizer.json, or another task"
        )
    plain = PlainText(tokenizer)
    answers: AnswerEncoder | None = None
    tag_ids = {name: i for i, name in enumerate(tag_names)}
    for batch in _batches(examples):
        if answers is None and writes:
            answers = AnswerEncoder(tokenizer, family, answer_eos, spaced=batch[0].suffix.endswith(" "))
        if answers is None:
            yield _encoder_batch(batch, plain, max_source_length, tag_ids)
        else:
            for encoded in (made := _text_batch(batch, plain, family, max_source_length, max_target_length, answers)):
                if source_tokens and len(encoded.source) > source_tokens:
                    encoded.source, encoded.truncated = encoded.source[:source_tokens], True
            yield made


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        batch.append(example)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _ids(plain: PlainText, texts: list[str], special: bool) -> list[list[int]]:
    """Token ids without truncation, straight from the Rust tokenizer: no offsets, no masks, every core."""
    tokenizer = plain.for_texts(texts)
    if not getattr(tokenizer, "is_fast", False):  # ByT5 has no other: one text at a time
        return [list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]) for text in texts]
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return [e.ids for e in backend.encode_batch_fast(texts, add_special_tokens=special)] if texts else []


class AnswerEncoder:
    """Encodes answers: T5 as plain text, decoder-only as the continuation `` answer`` of a source.

    A cue that ends in a space has the answer's space already (the DePT family's ``Label : ``).
    """

    def __init__(self, tokenizer: Any, family: str, eos: bool, spaced: bool = False) -> None:
        self.plain = PlainText(tokenizer)
        self.end = [tokenizer.eos_token_id] if eos else []
        self.cache: dict[str, list[int]] = {}
        self.sets: dict[tuple[str, ...], list[list[int]]] = {}
        # SentencePiece tokenizers with a dummy prefix put the space there themselves
        first = tokenizer.convert_ids_to_tokens(_ids(self.plain, ["a"], special=False)[0])[0]
        self.lead = " " if traits_of(family).continues and not spaced and not first.startswith("▁") else ""

    def __call__(self, answers: list[str]) -> list[list[int]]:
        """Ids of each answer, EOS included where answers end with it."""
        new = sorted({a for a in answers if a not in self.cache})
        for answer, ids in zip(new, _ids(self.plain, [self.lead + a for a in new], special=False), strict=True):
            self.cache[answer] = ids + self.end
        return [list(self.cache[a]) for a in answers]

    def choices(self, answers: tuple[str, ...]) -> list[list[int]]:
        """Ids of an example's candidates; most tasks have one set of them for all rows."""
        if answers not in self.sets:
            if len(self.sets) > BATCH:  # candidates differ from row to row: nothing to keep
                self.sets.clear()
            self.sets[answers] = self(list(answers))
        return [list(ids) for ids in self.sets[answers]]


def told_apart(words: Sequence[str], tokenizer: Any, family: str, answer_eos: bool) -> str:
    """Why the model could not tell some answers apart by their token ids; empty where it can.

    Two words of the same ids tie in every ranking. Where answers do not end with EOS, a word that begins another
    one's ids wins over it whatever the model thinks: a longer sequence is never more probable than its beginning.
    """
    if not traits_of(family).writes:
        return ""
    found: dict[str, list[int]] = dict(
        zip(words, AnswerEncoder(tokenizer, family, answer_eos)(list(words)), strict=True)
    )
    said = []
    for place, one in enumerate(words):
        for other in words[place + 1 :]:
            short, long = sorted((one, other), key=lambda word: len(found[word]))
            if found[short] == found[long]:
                said.append(f"{one!r} and {other!r} have the same token ids {found[one]}")
            elif found[short] == found[long][: len(found[short])]:
                said.append(f"the token ids of {short!r} {found[short]} begin those of {long!r} {found[long]}")
    return "; ".join(said[:5]) + (f"; and {len(said) - 5} more pairs" if len(said) > 5 else "")


def _text_batch(
    batch: list[Example],
    plain: PlainText,
    family: str,
    max_source_length: int,
    max_target_length: int | None,
    answers: AnswerEncoder,
) -> list[Encoded]:
    """Text-to-text examples of T5 and LLaMA."""
    sources = _ids(plain, [e.source for e in batch], special=True)
    targets = answers([e.target for e in batch])
    eos = plain.tokenizer.eos_token_id
    end = [eos] if traits_of(family).closes_source else []
    sources = [ids[:-1] if ids and ids[-1] == eos else ids for ids in sources]
    long = [i for i, ids in enumerate(sources) if len(ids) + len(end) > max_source_length]
    bodies = _bodies(plain, {i: batch[i] for i in long}, sources)
    out = []
    for place, (example, ids, target) in enumerate(zip(batch, sources, targets, strict=True)):
        tokens = len(ids) + len(end)
        truncated = place in bodies
        if truncated:
            tail = ids[bodies[place] :] + end
            source = ids[: min(bodies[place], max(0, max_source_length - len(tail)))] + tail
        else:
            source = ids + end
        if not source:
            raise DataError(
                f"row {example.id}: its text {example.source[:40]!r} makes no token, so that nothing would be asked; "
                "leave the row out, or give the task a template or cue with words of its own"
            )
        if max_target_length and len(target) > max_target_length:
            target, truncated = target[: max_target_length - 1] + answers.end, True
        choices = answers.choices(example.choices)
        out.append(Encoded(example.id, source, target, choices, example.label, truncated, tokens=tokens))
    return out


def _bodies(plain: PlainText, long: dict[int, Example], sources: list[list[int]]) -> dict[int, int]:
    """How many tokens of each source that is too long stand before its suffix.

    The suffix's tokens are those that it has where it stands: alone, some tokenizers put another space in front of it.
    """
    texts = [e.source[: len(e.source) - len(e.suffix)] for e in long.values()]
    found = {}
    for place, body in zip(long, _ids(plain, texts, special=True), strict=True):
        ids = sources[place]
        same = (at for at, (one, other) in enumerate(zip(ids, body, strict=False)) if one != other)
        found[place] = next(same, min(len(ids), len(body))) if long[place].suffix else len(ids)
    return found


def _encoder_batch(batch: list[Example], plain: PlainText, max_length: int, tag_ids: dict[str, int]) -> list[Encoded]:
    """Sequences of BERT-type models: special tokens by the tokenizer, the longer text is cut first."""
    if batch[0].words:
        tokenizer = plain.for_texts(word for e in batch for word in e.words)
        return _tagged_batch(batch, tokenizer, max_length, tag_ids)
    flat = [pair for e in batch for pair in e.segments]
    firsts, seconds = [a for a, _ in flat], [b for _, b in flat]
    tokenizer = plain.for_texts([*firsts, *seconds])
    pairs = {"text_pair": seconds} if seconds[0] is not None else {}
    whole = tokenizer(firsts, **pairs, verbose=False)
    cut = tokenizer(firsts, **pairs, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
    out, at = [], 0
    for example in batch:
        span = slice(at, at + len(example.segments))
        at = span.stop
        ids, types = cut["input_ids"][span], cut["token_type_ids"][span]
        lengths = [len(w) for w in whole["input_ids"][span]]
        truncated = any(length > len(c) for length, c in zip(lengths, ids, strict=True))
        made = Encoded(example.id, label=example.label, truncated=truncated, segments=ids, token_types=types)
        made.tokens = max(lengths, default=0)
        out.append(made)
    return out


def _tagged_batch(batch: list[Example], tokenizer: Any, max_length: int, tag_ids: dict[str, int]) -> list[Encoded]:
    """Tagged sentences: a tag at the first sub-token of each word; words that do not fit are counted."""
    lead = getattr(tokenizer, "word_lead", "")  # byte-level tokenizers: a word is encoded as in running text
    sentences = [[lead + word for word in e.words] for e in batch]
    whole = tokenizer(sentences, is_split_into_words=True, verbose=False)
    for row, words in enumerate(sentences):
        # a word of control characters makes no token; the unknown token keeps its place
        silent = set(range(len(words))) - set(whole.word_ids(row))
        sentences[row] = [tokenizer.unk_token if i in silent else w for i, w in enumerate(words)]
    got = tokenizer(
        sentences, is_split_into_words=True, truncation=True, max_length=max_length, return_token_type_ids=True
    )
    made = [_tagged(e, got, row, tag_ids) for row, e in enumerate(batch)]
    for encoded, ids in zip(made, whole["input_ids"], strict=True):
        encoded.tokens = len(ids)
    return made


def _tagged(example: Example, got: Any, row: int, tag_ids: dict[str, int]) -> Encoded:
    """One tagged sentence out of a tokenised batch."""
    tags, starts, last = [], [], None
    for position, word in enumerate(got.word_ids(row)):
        if word is not None and word != last:
            starts.append(position)
            tags.append(tag_ids[example.tags[word]])
            last = word
        else:
            tags.append(IGNORE)
    lost = len(example.words) - len(starts)
    ids, types = got["input_ids"][row], got["token_type_ids"][row]
    return Encoded(
        example.id, truncated=lost > 0, segments=[ids], token_types=[types], tags=tags, word_starts=starts,
        lost_words=lost,
    )  # fmt: skip


def word_tags(example: Example, predicted: Sequence[str]) -> list[str]:
    """One tag for every word: what truncation lost is ``O`` and so counts against the score."""
    return [*predicted, *["O"] * (len(example.words) - len(predicted))]
