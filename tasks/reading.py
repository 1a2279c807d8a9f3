"""Rows out of files, whatever their form: one reader for data=local, for scripts/new.py and for fixtures.

JSON lines, JSON (a list of rows, or SQuAD's nested form), CSV and TSV with a header, CoNLL columns and parquet; text
files plain or gzipped, in UTF-8 with or without a byte order mark, with any line ends. What cannot be read as it stands
is refused with the file and, where there is one, the line: nothing is dropped and nothing is guessed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from results.files import refusal
from tasks.errors import DataError

Row = dict[str, Any]
COLUMNS = (".conll", ".iob", ".iob2", ".bio", ".txt")  # CoNLL: a token a line, its tag in the last column
TEXTS = (".jsonl", ".json", ".csv", ".tsv", *COLUMNS)
SUFFIXES = (*TEXTS, *(f"{suffix}.gz" for suffix in TEXTS), ".parquet")
TAG = re.compile(r"(O|[BIESULM]-.+)$")
WANTED = ".jsonl, .json, .csv, .tsv, .conll (each also .gz) or .parquet"


def form_of(path: Path) -> str:
    """The suffix that says how a file is read, ``.gz`` left out.

    Raises:
        DataError: no form that is read here has this suffix.
    """
    name = path.name.lower().removesuffix(".gz")
    form = next((suffix for suffix in (*TEXTS, ".parquet") if name.endswith(suffix)), "")
    if not form:
        raise DataError(f"{path}: {path.suffix or 'no suffix'} is not read here; wanted: {WANTED}")
    return form


def read_rows(path: Path) -> list[Row]:
    """Every row of a file, as its form gives it (values of CSV and TSV are strings).

    Raises:
        DataError: there is no such file, it is damaged, or a row is not of the file's form.
    """
    form = form_of(_readable(path))
    if form == ".parquet":
        return _parquet(path)
    with _opened(path) as handle:
        if form == ".jsonl":
            return list(json_lines(handle, path))
        if form == ".json":
            return _json(handle.read(), path)
        if form in (".csv", ".tsv"):
            return _csv(handle, path, tab=form == ".tsv")
        return _conll(handle, path)


def some_rows(path: Path) -> list[Row]:
    """As `read_rows`, where a file without rows is a mistake.

    Raises:
        DataError: also where there are none.
    """
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path}: no rows in it; is it the right file?")
    return rows


def read_text(path: Path) -> str:
    """The text of a file, plain or gzipped, line ends as they are.

    Raises:
        DataError: there is no such file, or it is no text in UTF-8.
    """
    with _opened(_readable(path)) as handle:
        return handle.read()


def _readable(path: Path) -> Path:
    """Raises DataError where there is no file that may be read."""
    if path.is_dir():
        raise DataError(f"{path}: a folder, and a file is wanted")
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise DataError(refusal(error)) from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """A text file, unpacked where it is gzipped; what goes wrong while it is read is said with its name."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        if packed != (path.suffix == ".gz"):
            seen = "gzipped, but its name does not end in .gz" if packed else "named .gz, but it is not gzipped"
            raise DataError(f"{path}: cannot be read: it is {seen}")
        # newline="": line ends are left to each form (a CSV cell may hold some)
        opener: Any = gzip.open if packed else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            yield handle
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as UTF-8 ({error.reason}); save it as UTF-8 {_guess(path)}") from None
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of gzip
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        raise DataError(f"{path}: cannot be read, damaged or cut short ({error})") from None


def _guess(path: Path) -> str:
    with path.open("rb") as handle:
        start = handle.read(2)
    return "(it looks like UTF-16)" if start in (b"\xff\xfe", b"\xfe\xff") else "(it may be Latin-1 or Windows-1252)"


def json_lines(lines: Iterable[str], path: Path) -> Iterator[Row]:
    """One object a line; lines end where the JSON Lines form says (U+2028 inside a string is text)."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = parsed(line, f"{path}:{number}", "one JSON object a line")
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: {type(row).__name__} found, expected one JSON object a line")
        yield row


def parsed(text: str, where: str, expected: str) -> Any:
    """A JSON value; keys given twice and strings that are no text (half a surrogate pair) are refused."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except _Twice as error:
        raise DataError(f"{where}: the key {error.args[0]!r} stands twice in one object") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg}); expected {expected}") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; a thousand brackets
        raise DataError(f"{where}: cannot be read ({str(error).splitlines()[0][:80]}); expected {expected}") from None
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise DataError(f"{where}: {half} is half of a surrogate pair, which is no text") from None
    return value


class _Twice(ValueError):
    """A key that an object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return made


def _json(text: str, path: Path) -> list[Row]:
    """A list of rows, a list under ``data``, or SQuAD's articles, paragraphs and questions."""
    expected = "a list of rows, or SQuAD's {data: [{paragraphs: [...]}]}"
    try:
        whole = parsed(text, str(path), expected)
    except DataError:
        try:  # JSON lines under the name .json
            return list(json_lines(io.StringIO(text, newline=""), path))
        except DataError:
            pass
        raise
    rows = whole.get("data", whole) if isinstance(whole, dict) else whole
    if isinstance(rows, dict):  # one row, in a file of its own
        rows = [rows]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected {expected}")
    return list(_squad(rows, path)) if rows and all("paragraphs" in row for row in rows) else rows


def _squad(articles: list[Row], path: Path) -> Iterator[Row]:
    """One row per question: id, context, question, answers (texts)."""
    for place, article in enumerate(articles, start=1):
        try:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield {
                        "id": asked.get("id"),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": answer_texts(asked.get("answers") or []),
                    }
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: article {place} is not of SQuAD's form (missing: {error})") from None


def answer_texts(value: Any) -> Any:
    """Accepted answers as a list of strings, out of any form of SQuAD's; other values as they are.

    Known: one string, a list of strings, ``{"text": [...], "answer_start": [...]}``, ``[{"text": ...}, ...]``.
    """
    if isinstance(value, dict) and "text" in value:
        value = value["text"]
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and value and all(isinstance(v, dict) and "text" in v for v in value):
        return [v["text"] for v in value]
    return list(value) if isinstance(value, list | tuple) else value


def _csv(handle: Iterable[str], path: Path, tab: bool) -> list[Row]:
    """Rows under a header; cells of any length. A row of another width, an unclosed quote: refused with its line."""
    csv.field_size_limit(sys.maxsize)
    options: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tab else {"strict": True}
    reader = csv.reader(handle, **options)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells) and (not cells or len(cells) != len(header)):
                continue
            if not header:
                header = checked_header([cell.strip() for cell in cells], path)
                _divided_otherwise(header, path, tab)
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: row {len(rows) + 1} has other columns than the header: {len(cells)} "
                    f"cells, {len(header)} names ({', '.join(header)}); a cell with a comma wants quotes"
                )
            rows.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV ({error}); quotes inside a cell are doubled") from None
    return rows


def _divided_otherwise(header: list[str], path: Path, tab: bool) -> None:
    """One name with another form's divider in it: said as that, before a row is found to be of another width."""
    wanted = "tabs" if tab else "commas"
    others = {";": "semicolons", "," if tab else "\t": "commas" if tab else "tabs"}
    seen = next((name for sign, name in others.items() if len(header) == 1 and sign in header[0]), None)
    if seen:
        renamed = "" if seen == "semicolons" else f" or call it {'.csv' if tab else '.tsv'}"
        raise DataError(
            f"{path}: its columns are divided by {seen} ({header[0]!r}), here by {wanted}: "
            f"save it with {wanted}{renamed}"
        )


def checked_header(header: list[str], path: Path) -> list[str]:
    """The column names of a file.

    Raises:
        DataError: one is empty, or two are the same.
    """
    for place, name in enumerate(header, start=1):
        if not name:
            raise DataError(
                f"{path}: column {place} has no name in the header {header}; name it or leave it out "
                "(pandas writes its row numbers so: to_csv(..., index=False))"
            )
        if name in header[: place - 1]:
            raise DataError(f"{path}: columns {header.index(name) + 1} and {place} are both named {name!r}; rename one")
    return header


def _conll(handle: Iterable[str], path: Path) -> list[Row]:
    """Sentences of a CoNLL file: the first column is the word, the last its tag; blank lines end a sentence.

    Columns are divided by tabs where the file has any, else by blanks; ``-DOCSTART-`` lines and comments (a first line
    of a sentence that begins with ``#`` and does not end in a tag) are no sentences.
    """
    lines = [line.rstrip("\r\n") for line in handle]
    tabs = any("\t" in line for line in lines)
    table = [line.rstrip("\t").split("\t") if tabs else [c for c in line.split(" ") if c] for line in lines]
    widths = [len(cells) for cells in table if len(cells) > 1 and not cells[0].startswith(("#", "-DOCSTART-"))]
    width = max(set(widths), key=widths.count) if widths else 0
    rows: list[Row] = []
    words: list[str] = []
    tags: list[str] = []

    def close() -> None:
        if words:
            rows.append({"id": str(len(rows)), "tokens": list(words), "ner_tags": list(tags)})
        words.clear()
        tags.clear()

    for number, (line, cells) in enumerate(zip(lines, table, strict=True), start=1):
        if not line.strip() or cells[0].startswith("-DOCSTART-"):
            close()
        elif not words and cells[0].startswith("#") and (len(cells) != width or not TAG.match(cells[-1])):
            continue
        elif len(cells) != width or width < 2:
            raise DataError(
                f"{path}:{number}: {len(cells)} columns ({line[:40]!r}), expected {width or '2 or 4'}: "
                "a word and, last, its tag on each line"
            )
        else:
            words.append(cells[0])
            tags.append(cells[-1].strip())
    close()
    return rows


def _parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole parquet file ({str(error).splitlines()[0][:120]})") from None
    checked_header([str(name) for name in table.column_names], path)
    try:
        return list(table.to_pylist())
    except (pyarrow.ArrowException, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a value cannot be read ({str(error).splitlines()[0][:120]})") from None
