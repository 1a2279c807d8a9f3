"""What the backbone families can do, said once (no torch): everything else asks here, never for a family's name.

`Facts.traits` (backbones/config.py) and `family(name)` lead here. A further family is an entry here and a class in
backbones/ that answers its questions (`backbones.load`), which is named by `module` and `engine`.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT_QUESTIONS = ("losses", "rank", "generate")
HEAD_QUESTIONS = ("losses", "classify", "tag")


@dataclass(frozen=True)
class Family:
    """One kind of models.

    Attributes:
        name: as the configs have it.
        model: what one of its models is called; title: all of them.
        asks: the questions that it answers.
        stacks: its stacks of layers, each with self-attention, in the order of a forward.
        closes_source: a source ends with EOS.
        packs: several runs can share a pass through one backbone.
        engine: the class that runs it, `module.Class` in backbones/; loader: the class of transformers that loads it.
        face: special tokens of the project's own tokenizer (backbones/tiny_tokenizer.py).
        half: float16 holds its activations.
    """

    name: str
    model: str
    title: str
    asks: tuple[str, ...]
    stacks: tuple[str, ...]
    engine: str
    loader: str
    face: str
    closes_source: bool = False
    packs: bool = False
    half: bool = True

    @property
    def writes(self) -> bool:
        """Answers are text (ranked or generated); else a task head gives them, over segments of text."""
        return "generate" in self.asks

    @property
    def encoder_decoder(self) -> bool:
        """One stack reads the source and another one writes the answer."""
        return len(self.stacks) > 1

    @property
    def continues(self) -> bool:
        """The answer continues the source in one row (decoder-only): a cue may end the source, a space leads on."""
        return self.stacks == ("decoder",)

    def stack_of(self, path: str) -> str:
        """The stack that a module of the model belongs to."""
        return self.stacks[0] if not self.encoder_decoder or path.startswith(f"{self.stacks[0]}.") else self.stacks[1]


FAMILIES: dict[str, Family] = {
    one.name: one
    for one in (
        Family(
            "t5", "a model of the T5 kind", "Models of the T5 kind", TEXT_QUESTIONS, ("encoder", "decoder"),
            "t5.T5", "AutoModelForSeq2SeqLM", "t5", closes_source=True, packs=True, half=False,
        ),
        Family(
            "llama", "a decoder-only language model", "Decoder-only language models", TEXT_QUESTIONS, ("decoder",),
            "llama.Llama", "AutoModelForCausalLM", "llama", packs=True,
        ),
        Family(
            "encoder", "an encoder", "Encoders", HEAD_QUESTIONS, ("encoder",), "encoder.Encoder", "AutoModel", "bert",
        ),
    )
}  # fmt: skip


def family(name: str) -> Family:
    """What a family can do.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in FAMILIES:
        raise ValueError(f"family {name!r}: {', '.join(FAMILIES)}")
    return FAMILIES[name]
