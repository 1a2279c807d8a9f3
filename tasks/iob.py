"""Tagging schemes: IOB1 and BIOES (BILOU, BMES) brought to IOB2, the one that the metrics and models here read."""

from __future__ import annotations

from collections.abc import Sequence

TO_IOB2 = {"S": "B", "U": "B", "E": "I", "L": "I", "M": "I"}  # BIOES, BILOU and BMES


class NotATag(ValueError):
    """A tag that no scheme allows where it stands.

    Attributes:
        sentence: the place of its sentence among those given.
    """

    def __init__(self, sentence: int, why: str) -> None:
        super().__init__(why)
        self.sentence = sentence


def iob2(sentences: Sequence[Sequence[str]]) -> tuple[list[list[str]], str]:
    """The sentences' tags in IOB2, and which scheme they were in (empty where it was IOB2).

    IOB1 begins an entity with I-, and with B- only right after another of its type; so a file is IOB1 where some I-
    begins an entity and no B- stands where IOB1 would not have it. Sentences with both kinds of beginning are of no
    scheme: strict IOB2 would pass over a part of their entities.

    Raises:
        NotATag: a tag is neither O nor of the form B-x, or begins an entity where it cannot.
    """
    for place, tags in enumerate(sentences):
        for tag in tags:
            if tag != "O" and (tag[1:2] != "-" or tag[0] not in "BI" + "".join(TO_IOB2) or len(tag) < 3):
                raise NotATag(place, f"tag {tag!r} is neither O nor of the form B-TYPE (IOB2, IOB1 or BIOES)")
    seen = {tag[0] for tags in sentences for tag in tags}
    if seen & set(TO_IOB2):
        made = [[TO_IOB2.get(tag[0], tag[0]) + tag[1:] if tag != "O" else tag for tag in tags] for tags in sentences]
        for place, (tags, old) in enumerate(zip(made, sentences, strict=True)):
            for at in _beginnings(tags, "I"):
                raise NotATag(place, f"tag {old[at]!r} (word {at + 1}) goes on with an entity that has not begun")
        return made, "BIOES"
    first = next(((place, at) for place, tags in enumerate(sentences) for at in _beginnings(tags, "I")), None)
    made = [list(tags) for tags in sentences]
    if first is None:
        return made, ""
    if any(_beginnings(tags, "B") for tags in sentences):
        place, at = first
        raise NotATag(
            place,
            f"tag {sentences[place][at]!r} (word {at + 1}) begins an entity, while others begin with B-: "
            "neither IOB2 nor IOB1; write B- where an entity begins",
        )
    for tags in made:
        for at in _beginnings(tags, "I"):
            tags[at] = "B" + tags[at][1:]
    return made, "IOB1"


def _beginnings(tags: Sequence[str], prefix: str) -> list[int]:
    """Places of tags with `prefix` that no tag of the same type precedes."""
    before = ["O", *tags]
    return [at for at, tag in enumerate(tags) if tag[0] == prefix and tag != "O" and before[at][2:] != tag[2:]]
