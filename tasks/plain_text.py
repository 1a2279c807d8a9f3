"""Special tokens inside a user's text stay text: `</s>` in a sentence must not end it, `[SEP]` must not divide it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "\ue000"  # a private-use character before a piece that no text may reach


class PlainText:
    """Gives texts to a tokenizer; to a copy that knows no special tokens where a text holds one.

    Other texts get exactly the ids that they always got.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        self.names = sorted({t.content for t in added if t.special} | set(tokenizer.all_special_tokens), key=len)[::-1]
        self._special = re.compile("|".join(map(re.escape, self.names))) if self.names else None
        self._copy: Any = None

    def for_texts(self, texts: Iterable[str | None]) -> Any:
        """The tokenizer to encode these texts with (special tokens of its own are still put around them)."""
        search = self._special.search if self._special else lambda text: None
        return self.without_special if any(text and search(text) for text in texts) else self.tokenizer

    @property
    def without_special(self) -> Any:
        """A copy of the tokenizer for which the names of its special tokens are text like any other."""
        if self._copy is None:
            self._copy = copy.deepcopy(self.tokenizer)
            if not getattr(self.tokenizer, "is_fast", False):
                self._copy.split_special_tokens = True
                return self._copy
            backend = self._copy.backend_tokenizer
            parts = json.loads(backend.to_str())
            parts["added_tokens"] = [t for t in parts["added_tokens"] if t["content"] not in self.names]
            _hide(parts["model"], set(self.names))
            self._copy._tokenizer = type(backend).from_str(json.dumps(parts))
        return self._copy


def _hide(model: dict[str, Any], names: set[str]) -> None:
    """Rename special pieces of a vocabulary, ids kept: a unigram model would find them in a text."""
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):
        model["vocab"] = [[HIDDEN + piece if piece in names else piece, score] for piece, score in vocabulary]
    elif isinstance(vocabulary, dict):
        unknown = model.get("unk_token")
        model["vocab"] = {
            HIDDEN + piece if piece in names and piece != unknown else piece: number
            for piece, number in vocabulary.items()
        }
