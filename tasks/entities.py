"""Entities of a tagged sentence: spans (strict, and as seqeval reads them by default) and their form as text."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "none"
NAMELESS = ":"  # the type of an answered entity that has none: no type holds a colon, so it is never right
Span = tuple[str, int, int]


def spans(tags: Sequence[str]) -> list[Span]:
    """(type, start, end) of every entity under strict IOB2: it begins at B- and goes on over I- of the same type.

    An I- that no entity of its type leads is no entity (seqeval's ``mode="strict", scheme=IOB2``).
    """
    out: list[Span] = []
    start: int | None = None
    for at, tag in enumerate([*tags, "O"]):
        if start is not None and tag != "I-" + tags[start][2:]:
            out.append((tags[start][2:], start, at))
            start = None
        if tag.startswith("B-"):
            start = at
    return out


def lenient_spans(tags: Sequence[str]) -> list[Span]:
    """(type, start, end) as seqeval's default mode (conlleval's rule) reads them: what P-tuning v2's code scores.

    A B- begins an entity, and so does an I- after O or after another type; an entity ends before the next beginning
    or O. Where tags are legal IOB2, these are the strict spans.
    """
    out: list[Span] = []
    start: int | None = None
    for at, tag in enumerate([*tags, "O"]):
        kind, goes_on = tag[2:], tag.startswith("I-") and start is not None and tags[at - 1][2:] == tag[2:]
        if start is not None and not goes_on:
            out.append((tags[start][2:], start, at))
            start = None
        if kind and start is None:
            start = at
    return out


def to_text(words: Sequence[str], tags: Sequence[str]) -> str:
    """``type: words ; type: words`` in order of appearance; ``none`` where there is no entity."""
    found = [f"{kind}: {' '.join(words[start:end])}" for kind, start, end in spans(tags)]
    return " ; ".join(found) or NONE


def from_text(text: str) -> list[tuple[str, str]]:
    """(type, words) of every entity in a generated answer; what is not of the form is a nameless (wrong) entity."""
    pieces = [p.strip() for p in text.split(" ; ")]
    out = []
    for piece in pieces:
        kind, colon, words = piece.partition(":")
        if piece and piece != NONE:
            out.append((kind.strip(), " ".join(words.split())) if colon else ("", piece))
    return out


def tags_of_text(words: Sequence[str], text: str) -> list[str]:
    """IOB2 tags of a generated answer: each entity at its first free place, left to right.

    Each has a type, so that whoever reads the tags counts as many entities: a bare `B-` is one for seqeval's default
    mode and none for others. An entity that is not in the sentence is appended past its end, so that it still counts as
    a wrong prediction.
    """
    tags, at, lost = ["O"] * len(words), 0, 0
    for kind, phrase in from_text(text):
        wanted = phrase.split()
        places = [i for i in range(len(words) - len(wanted) + 1) if list(words[i : i + len(wanted)]) == wanted]
        free = [i for i in places if wanted and set(tags[i : i + len(wanted)]) == {"O"}]
        start = next((i for i in free if i >= at), free[0] if free else None)
        if start is None:
            lost += 1
            continue
        at = start + len(wanted)
        named = kind or NAMELESS
        tags[start:at] = [f"B-{named}", *[f"I-{named}"] * (len(wanted) - 1)]
    return tags + ["B-absent"] * lost


def bio(length: int, found: Sequence[Span]) -> list[str]:
    """IOB2 tags of a sentence from spans that do not overlap."""
    tags = ["O"] * length
    for kind, start, end in found:
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return tags


def match_in_order(words: Sequence[str], entities: Sequence[tuple[str, str]]) -> list[Span] | None:
    """Spans of (type, text) entities found left to right, each after the one before; ``None`` if one is not found."""
    out: list[Span] = []
    at = 0
    for kind, text in entities:
        wanted = text.split()
        starts = (i for i in range(at, len(words) - len(wanted) + 1) if list(words[i : i + len(wanted)]) == wanted)
        start = next(starts, None)
        if start is None:
            return None
        at = start + len(wanted)
        out.append((kind, start, at))
    return out
