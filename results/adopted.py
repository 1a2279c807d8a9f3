"""Matching other people's predictions with our examples: by content or by id, and never by luck."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from results.records import Run
from tasks.config import TaskConfig
from tasks.errors import DataError
from tasks.kinds import KINDS, Kind
from tasks.local import local_files
from tasks.reading import read_rows
from tasks.rows import ID, canonical

Line = Mapping[str, Any]
CHANCE = 6.0  # powers of ten: how unlikely an agreement of all golds by luck has to be
SHOWN = 3


class Refused(ValueError):
    """A file that does not fit; the message says what was found and what is needed."""


def match_by_id(lines: Sequence[Line], ours: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Pairs (theirs, ours) by id, in our order.

    Raises:
        Refused: an id is missing, unknown or twice; or the gold answers could agree in many orders, so that equal
            ids would prove nothing.
    """
    theirs = _once(lines, "the file")
    known = {str(row["id"]): row for row in ours}
    _same_examples(set(theirs), set(known), "give every line its `input` and data.root=DIR where ids differ from ours")
    orders = log10_orders([str(row["reference"]) for row in ours])
    if orders < CHANCE:
        raise Refused(
            f"{len(ours)} gold answers can be ordered in about 10^{orders:.0f} ways: equal ids and golds would prove "
            "little; give every line its `input` and data.root=DIR, so that examples are matched by content"
        )
    return [(theirs[name], row) for name, row in known.items()]


def log10_orders(golds: Sequence[str]) -> float:
    """log10 of the number of different orders of some gold answers (a multinomial coefficient)."""
    counts = Counter(golds)
    total = math.lgamma(len(golds) + 1) - sum(math.lgamma(count + 1) for count in counts.values())
    return total / math.log(10)


def match_by_content(lines: Sequence[Line], ours: Sequence[Line], like: Run, root: str) -> list[tuple[Line, Line]]:
    """Pairs (theirs, ours) by the text that was read: an input holds every text of exactly one of our rows.

    Where it holds those of several (a short answer inside a passage), an id that is one of theirs decides.

    Raises:
        Refused: the data are not under `root`, or an input is none or several of our examples.
    """
    known = {str(row["id"]): row for row in ours}
    problem = ""
    for texts in _splits(like, root, set(known)):
        try:
            found = _by_content(lines, texts)
        except Refused as error:
            problem = problem or str(error)
            continue
        _same_examples(set(found), set(known), "every example has to be there once")
        return [(found[name], row) for name, row in known.items()]
    raise Refused(
        problem
        or f"data.root={root}: no split of {like.get('task')} in it holds the {len(known)} examples of run {like.id}"
    )


def _by_content(lines: Sequence[Line], texts: Mapping[str, Sequence[str]]) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for number, line in enumerate(lines, start=1):
        read, own = _plain(str(line["input"])), str(line["id"])
        if own in texts and all(part in read for part in texts[own]):
            names = [own]
        else:
            names = [name for name, parts in texts.items() if all(part in read for part in parts)]
        where = f"line {number} (id {line['id']!r})"
        if len(names) != 1:
            what = f"several of our examples ({', '.join(names[:SHOWN])})" if names else "none of our examples"
            raise Refused(f"{where}: its input is {what}; nothing was adopted")
        if names[0] in found:
            raise Refused(f"{where}: our example {names[0]} was already matched by another line; nothing was adopted")
        found[names[0]] = line
    return found


def _splits(like: Run, root: str, wanted: set[str]) -> Iterator[dict[str, list[str]]]:
    """Id -> texts of our rows, for every split of the data that holds all of our ids; evaluation splits first."""
    values = {key: value for key, value in like.config.get("task", {}).items() if key in TaskConfig.__annotations__}
    try:
        task = TaskConfig(**values)
        files = local_files(task, root)
        columns = [name for name, form in task.columns.items() if form in ("text", "texts", "words")]
        for split in sorted(files, key=lambda name: name == "train"):
            rows = canonical(task, split, read_rows(files[split]), str(files[split]))
            held = {row[ID]: [_plain(t) for name in columns for t in _strings(row[name])] for row in rows}
            if wanted <= set(held):
                yield {name: held[name] for name in wanted}
    except (DataError, TypeError) as error:
        raise Refused(str(error)) from None


def _strings(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def _plain(text: str) -> str:
    """A text without differences in spaces and case."""
    return " ".join(text.split()).lower()


def kind_named(like: Run) -> Kind:
    """The kind of a run's task."""
    return KINDS[str(like.get("task.kind", "classification"))]


def coding_of(like: Run, golds: Sequence[tuple[Any, Line]], words: Sequence[str]) -> Callable[[Any], Any]:
    """How their labels are written: a function from their answer to ours, under which every gold is ours.

    Raises:
        Refused: no way of writing labels makes every gold equal; the first that differ are shown.
    """
    if not (kind_named(like).closed or kind_named(like).options) or not words:
        _equal_golds(golds)
        return lambda answer: answer
    codings = _codings(like, words)
    scored = []
    for name, coding in codings.items():
        wrong = [(gold, row) for gold, row in golds if _word(coding.get(_word(gold), "")) != _word(row["reference"])]
        if not wrong:
            return partial(_recoded, coding)
        scored.append((len(wrong), name, wrong))
    count, name, wrong = min(scored, key=lambda entry: entry[0])
    shown = "; ".join(f"id {row['id']}: theirs {gold!r}, ours {row['reference']!r}" for gold, row in wrong[:SHOWN])
    raise Refused(f"{count} of {len(golds)} golds differ, labels read as {name} ({shown}); nothing was adopted")


def _recoded(coding: Mapping[str, str], answer: Any) -> str:
    """Our word for their answer; what is no label of theirs must not happen to be one of ours."""
    return coding.get(_word(answer), f"no label: {answer}")


def _codings(like: Run, words: Sequence[str]) -> dict[str, dict[str, str]]:
    """Ways in which labels may be written -> their word to ours."""
    labels = [str(label) for label in like.get("task.labels") or words]
    ways: dict[str, Iterable[Any]] = {"our words": words, "names": labels, "numbers from 0": range(len(words))}
    for style, given in (like.get("task.label_words") or {}).items():
        if isinstance(given, list):
            ways[f"words ({style})"] = given
    if kind_named(like).options:
        ways["numbers from 1"] = range(1, len(words) + 1)
    return {
        name: {_word(theirs): str(ours) for theirs, ours in zip(way, words, strict=False)} for name, way in ways.items()
    }


def _word(answer: Any) -> str:
    """A label as it is compared: 1, 1.0 and " 1" are one, as are True and "true"."""
    answer = answer[0] if isinstance(answer, list | tuple) and len(answer) == 1 else answer
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    return str(answer).strip().casefold()


def _equal_golds(golds: Sequence[tuple[Any, Line]]) -> None:
    """Refuse answers, numbers or tags whose gold is not ours."""
    wrong = [(gold, row) for gold, row in golds if not _same_gold(gold, row["reference"])]
    if wrong:
        shown = "; ".join(f"id {row['id']}: theirs {gold!r}, ours {row['reference']!r}" for gold, row in wrong[:SHOWN])
        raise Refused(f"{len(wrong)} of {len(golds)} golds differ ({shown}); nothing was adopted")


def _same_gold(theirs: Any, ours: Any) -> bool:
    try:
        return math.isclose(float(theirs), float(ours), abs_tol=1e-6)
    except (TypeError, ValueError):
        pass
    if isinstance(ours, list) and isinstance(theirs, str):
        return theirs in ours  # one of several accepted answers
    if isinstance(ours, list) and isinstance(theirs, list):
        return list(map(str, theirs)) == list(map(str, ours))
    return str(theirs).strip() == str(ours).strip()


def _once(lines: Sequence[Line], where: str) -> dict[str, Line]:
    counts = Counter(str(line["id"]) for line in lines)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise Refused(f"{where}: {len(twice)} ids stand twice ({', '.join(twice[:SHOWN])})")
    return {str(line["id"]): line for line in lines}


def _same_examples(theirs: set[str], ours: set[str], hint: str) -> None:
    if theirs == ours:
        return
    lacking, unknown = sorted(ours - theirs), sorted(theirs - ours)
    said = [f"{len(lacking)} of our {len(ours)} examples are missing ({', '.join(lacking[:SHOWN])})"] if lacking else []
    said += [f"{len(unknown)} are none of ours ({', '.join(unknown[:SHOWN])})"] if unknown else []
    raise Refused(f"{'; '.join(said)}; {hint}; nothing was adopted")
