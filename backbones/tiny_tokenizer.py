"""The project's own small tokenizer: byte-level BPE, so that any text encodes, with no network.

One vocabulary (1,024 entries, trained on backbones/tiny/corpus.txt, a text written for this project), three faces:
``t5`` ends a source with EOS, ``llama`` may begin it with BOS, ``bert`` puts [CLS] and [SEP] around it.
``python -m backbones.tiny_tokenizer`` trains it again; a test holds the committed file against that.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent / "tiny"
VOCABULARY = 1024
SPECIAL = ("<pad>", "</s>", "<s>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
FACES = ("t5", "llama", "bert")


def train() -> Tokenizer:
    """Train the vocabulary from the corpus (deterministic, under a second)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (FOLDER / "corpus.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


@lru_cache(maxsize=len(FACES))
def tiny_tokenizer(face: str) -> PreTrainedTokenizerFast:
    """The tokenizer with the special tokens of a family.

    Raises:
        ValueError: ``face`` is not one of t5, llama, bert.
    """
    if face not in FACES:
        raise ValueError(f"backbone.tiny.tokenizer={face!r} is not one of {', '.join(FACES)}.")
    inner = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    ids = {token: inner.token_to_id(token) for token in SPECIAL}
    common = {"pad_token": "<pad>", "unk_token": "<unk>", "clean_up_tokenization_spaces": False}
    if face == "t5":
        inner.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", ids["</s>"])]
        )
        return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", **common)
    if face == "llama":
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", ids["<s>"])]
        )
        return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", **common)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", **common
    )


if __name__ == "__main__":
    train().save(str(FOLDER / "tokenizer.json"), pretty=False)
