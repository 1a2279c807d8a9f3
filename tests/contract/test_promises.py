"""Every method keeps every promise, and a method that breaks one is told by that promise's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.tuned import Tuned
from methods import load
from methods.base import Body, InputMethod, Method
from methods.pt import PT
from methods.source import Source
from runners.promised import PROMISES, Subject, stirred
from runners.promises import broken
from scripts import check_method
from tests.contract import rig

FAMILY = {"tiny_t5": "t5", "tiny_llama": "llama", "tiny_bert": "encoder"}
FULL = {"full": ("gradients", "precision")}  # everything is trained: tables have rows that no batch reaches


def subject(method: str, name: str) -> Subject:
    def make(seed: int, stir: bool) -> Tuned:
        return rig.tuned(method, name, seed=seed, stir=stir)

    return Subject(FAMILY[name], make, load.count(rig.method_config(method, name), rig.backbone_config(name).sizes()))


def planted(cls: type[Method], name: str) -> Subject:
    def make(seed: int, stir: bool) -> Tuned:
        bare = rig.backbone(name)
        tuned = Tuned(bare, cls(bare.facts, generator=torch.Generator().manual_seed(seed)))  # type: ignore[call-arg]
        return stirred(tuned) if stir else tuned

    facts = rig.backbone_config(name).sizes()
    return Subject(FAMILY[name], make, cls.count({}, facts))


FEW = [("pt", "tiny_llama"), ("dept", "tiny_llama"), ("adept", "tiny_t5"), ("apt", "tiny_t5"), ("lora", "tiny_bert")]


@pytest.mark.parametrize(("method", "name"), FEW, ids=str)
def test_methods_keep_their_promises(method: str, name: str) -> None:
    assert broken(subject(method, name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name"), [p for p in rig.pairs() if p not in FEW], ids=str)
def test_every_method_keeps_its_promises(method: str, name: str) -> None:
    found = broken(subject(method, name))
    assert {k: v for k, v in found.items() if k not in FULL.get(method, ())} == {}


class Base(PT):
    """A sound method to break: P and a map of a summary."""

    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__(facts, prompt_length=3, generator=generator)
        self.facts = facts
        self.weight = nn.Parameter(torch.randn(facts.width, facts.width, generator=generator) * 0.3)

    @classmethod
    def count(cls, options: dict[str, Any], facts: Any) -> int:
        return int(3 * facts.width + facts.width**2)

    def summary(self, source: Source) -> Tensor:
        return source.mean()

    def prompts(self, source: Source) -> Tensor:
        assert self.prompt is not None
        return self.prompt + torch.tanh(self.summary(source) @ self.weight)[:, None]


class Row0(Base):
    def prompts(self, source: Source) -> Tensor:
        return super().prompts(source)[0]


class BatchMean(Base):
    def summary(self, source: Source) -> Tensor:
        return source.mean().mean(0, keepdim=True).expand(len(source), -1)


class PaddingReader(Base):
    def summary(self, source: Source) -> Tensor:
        return source.embeds.float().mean(1)


class Ordered(Base):
    def prompts(self, source: Source) -> Tensor:
        return super().prompts(source) * (1 + torch.arange(len(source))[:, None, None])


class RandomAtEval(Base):
    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        return made + 0.1 * torch.randn(made.shape)


class Counting(Base):
    calls = 0

    def prompts(self, source: Source) -> Tensor:
        self.calls += 1
        return super().prompts(source) * self.calls


class InPlace(Base):
    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        source.embeds.mul_(1.5)
        return made


class NoGradient(Base):
    def prompts(self, source: Source) -> Tensor:
        assert self.prompt is not None
        return self.prompt + torch.tanh(self.summary(source) @ self.weight.detach())[:, None]


class Forgotten(Base):
    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__(facts, generator=generator)
        self.scale = torch.rand(facts.width, generator=generator)  # neither a parameter nor a buffer

    def summary(self, source: Source) -> Tensor:
        return source.mean() * self.scale


class RunningMean(Base):
    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__(facts, generator=generator)
        self.register_buffer("running", torch.zeros(facts.width))

    def summary(self, source: Source) -> Tensor:
        if self.training:
            self.running += source.mean().detach().mean(0)
        return source.mean() - self.running


class GlobalRandom(Base):
    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__(facts, generator=generator)
        self.weight.data = torch.randn(facts.width, facts.width)


class Miscounted(Base):
    @classmethod
    def count(cls, options: dict[str, Any], facts: Any) -> int:
        return int(3 * facts.width)


class Idle(Base):
    prompt_slots = 0

    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__(facts, generator=generator)
        self.prompt_slots = 0


class Mixing(Base):
    """Answer tokens pass through `token_offset`: their mean would carry the target to what stands before it."""

    def token_offset(self, embeds: Tensor) -> Tensor:
        return embeds.float().mean(-2, keepdim=True).expand_as(embeds)


class Hooked(Method):
    """A method inside the model that adds the mean over all positions, answers included, to every state."""

    def __init__(self, facts: Any, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(facts.width, generator=generator))

    @classmethod
    def count(cls, options: dict[str, Any], facts: Any) -> int:
        return int(facts.width)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"weights": [self.weight]}

    def attach(self, body: Body) -> InputMethod | None:
        def add(module: Any, args: Any, output: Tensor) -> Tensor:
            return output + self.weight * output.mean(1, keepdim=True)

        body.changed, body.removable = True, False  # type: ignore[attr-defined]
        body.model.model.layers[0].mlp.register_forward_hook(add)  # type: ignore[attr-defined]
        return None


class Cheat(Base):
    """Sound until `seen` is set: a cheat puts there what it should not know, (B,) or a number."""

    seen: Any = None

    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        return made if self.seen is None else made * (1 + 0.1 * torch.as_tensor(self.seen).float().view(-1, 1, 1))

    def peek(self, body: Any, question: str, read: Any) -> None:
        """Look at every batch that a question is asked with."""
        plain = getattr(body, question)

        def asked(batch: Any, *more: Any) -> Any:
            self.seen = read(batch)
            try:
                return plain(batch, *more)
            finally:
                self.seen = None

        setattr(body, question, asked)


class PeeksInTraining(Cheat):
    """Reads the answer when it is trained, and never when it is scored."""

    def attach(self, body: Any) -> InputMethod | None:
        def read(batch: Any) -> Any:
            if not self.training:
                return None
            return batch.labels if batch.target is None else batch.target.float().mean(1) / 50

        self.peek(body, "losses", read)
        return self


class PeeksInEvaluation(Cheat):
    """Reads the candidates (an encoder: the label) when it is scored, and never when it is trained."""

    def attach(self, body: Any) -> InputMethod | None:
        if body.facts.traits.writes:
            self.peek(body, "rank", lambda batch: batch.choices.float().mean((1, 2)) / 50)
        else:
            self.peek(body, "classify", lambda batch: None if self.training else batch.labels)
        return self


class Queue(Base):
    """A row's prompt has something of the row's before it, where rows differ in length."""

    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        uneven = bool((source.mask.sum(1) != source.mask.sum(1)[0]).any())
        return made + made.roll(1, 0) * 0.2 if uneven else made


class FirstRowInTraining(Base):
    """Row 0's prompt for all, in training alone."""

    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        return made[:1].expand_as(made) if self.training else made


class Crowded(Base):
    """Another prompt where an odd number of rows is asked together."""

    def prompts(self, source: Source) -> Tensor:
        made = super().prompts(source)
        return made * 1.2 if len(source) > 1 and len(source) % 2 else made


class FirstPlace(Base):
    """Reads the first place of the row, which is padding where the padding is in front."""

    def summary(self, source: Source) -> Tensor:
        return source.embeds[:, 0].float()


class LastPlace(Base):
    """Reads the last place of the row, which is padding where the padding is behind."""

    def summary(self, source: Source) -> Tensor:
        return source.embeds[:, -1].float()


CHEATS = [
    (PeeksInTraining, "target", rig.BACKBONES), (PeeksInEvaluation, "target", rig.BACKBONES),
    (Queue, "order", rig.BACKBONES), (FirstRowInTraining, "order", rig.BACKBONES),
    (Crowded, "alone", rig.BACKBONES), (FirstPlace, "padding", ("tiny_llama",)),
    (LastPlace, "padding", ("tiny_t5", "tiny_bert")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "promise", "name"), [(c, p, n) for c, p, names in CHEATS for n in names],
    ids=lambda v: getattr(v, "__name__", v),
)  # fmt: skip
def test_cheats_are_told_by_their_property(cls: type[Method], promise: str, name: str) -> None:
    """Only where they cheat: on one side of the padding, in one mode, at some lengths or numbers of rows."""
    assert promise in broken(planted(cls, name), (promise,))


PLANTED = [
    (Row0, "order"), (BatchMean, "alone"), (PaddingReader, "padding"), (Ordered, "order"), (RandomAtEval, "evaluation"),
    (Counting, "evaluation"), (InPlace, "embeddings"), (NoGradient, "gradients"), (Forgotten, "saved"),
    (RunningMean, "saved"), (GlobalRandom, "seed"), (Miscounted, "count"), (Idle, "acts"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["tiny_llama"])
@pytest.mark.parametrize(("cls", "promise"), PLANTED, ids=lambda v: getattr(v, "__name__", v))
def test_a_broken_promise_is_told_by_its_name(cls: type[Method], promise: str, name: str) -> None:
    assert promise in broken(planted(cls, name), (promise,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_t5", "tiny_bert"])
@pytest.mark.parametrize(("cls", "promise"), PLANTED, ids=lambda v: getattr(v, "__name__", v))
def test_a_broken_promise_is_told_on_every_family(cls: type[Method], promise: str, name: str) -> None:
    assert promise in broken(planted(cls, name), (promise,))


@pytest.mark.parametrize("cls", [Mixing, Hooked])
def test_who_lets_the_target_be_seen_is_told(cls: type[Method]) -> None:
    assert "target" in broken(planted(cls, "tiny_llama"), ("target",))


@pytest.mark.parametrize("name", rig.BACKBONES)
def test_the_sound_method_behind_them_breaks_nothing(name: str) -> None:
    assert broken(planted(Base, name)) == {}


HEAD = """
import torch
from torch import nn
from methods.base import InputMethod, prompt_parameter


class Mine(InputMethod):
    def __init__(self, facts, *, prompt_length: int = 3, init_rows=None, generator=None):
        super().__init__()
        self.prompt_slots = prompt_length
        self.prompt = prompt_parameter(prompt_length, facts.width, init_rows, generator)
        self.weight = nn.Parameter(torch.randn(facts.width, generator=generator))

    @classmethod
    def count(cls, options, facts):
        return (cls.complete(options)["prompt_length"] + 1) * facts.width

    def groups(self):
        return {"prompt": [self.prompt, self.weight]}

"""
SUMMARY = "    def prompts(self, source):\n        made = self.prompt + self.weight * source.mean()[:, None]\n"
PEEK = """    def attach(self, body):
        plain = body.{question}

        def asked(batch, *more):
            answer = batch.{part} if {when} else None
            self.seen = 0.0 if answer is None else answer.float().flatten(1).mean(1)[:, None, None]
            return plain(batch, *more)

        body.{question} = asked
        return self

    def prompts(self, source):
        return self.prompt + self.weight * source.mean()[:, None] * (1 + 0.01 * getattr(self, "seen", 0.0))
"""
FILES = {
    "sound": ("", SUMMARY + "        return made\n"),
    "row 0": (
        "order",
        "    def prompts(self, source):\n        return self.prompt + self.weight * source.mean()[:1]\n",
    ),
    "mixes its own tokens": (
        "target",
        "    def prompts(self, source):\n        return self.prompt\n\n    def token_offset(self, embeds):\n"
        "        return (self.weight * embeds.float()).sum(-2, keepdim=True).expand_as(embeds)\n",
    ),
    "peeks in training": ("target", PEEK.format(question="losses", part="target", when="self.training")),
    "peeks in evaluation": ("target", PEEK.format(question="rank", part="choices", when="not self.training")),
    "by the order of the batch": (
        "order",
        SUMMARY + "        turn = torch.arange(len(made)).view(-1, 1, 1)\n        return made * (1 + 0.1 * turn)\n",
    ),
    "by the number of rows": (
        "alone",
        SUMMARY + "        return made * (1.2 if len(made) > 1 and len(made) % 2 else 1)\n",
    ),
    "reads the padding": (
        "padding",
        "    def prompts(self, source):\n        return self.prompt + self.weight * source.embeds[:, [0]].float()\n",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "mixes its own tokens")) for n in FILES]
)
def test_check_method_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    broken_one, text = FILES[name]
    file = tmp_path / "mine.py"
    file.write_text(HEAD + text)
    assert check_method.main([str(file), "prompt_length=2"]) == (1 if broken_one else 0)
    told = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("ok", "BROKEN")) for line in told) == len(PROMISES)
    assert not broken_one or any(line.split()[:2] == ["BROKEN", broken_one] for line in told), told
    assert not broken_one or broken_one in told[-1]


UNMADE = {
    "its constructor": (
        HEAD.replace("super().__init__()", "super().__init__()\n        self.other = torch.nope(3)"), "torch"
    ),
    "its formula": (HEAD.replace("+ 1) * facts.width", "+ 1) * facts.wdth") + FILES["sound"][1], "wdth"),
    "its module": ("import torch\nscale = undefined\n" + HEAD, "line 2"),
    "its syntax": ("def f(:\n", "invalid syntax"),
    "its imports": ("import no_such_package\n", "no_such_package"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNMADE)
def test_a_method_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    text, told = UNMADE[name]
    (tmp_path / "mine.py").write_text(text)
    assert check_method.main([str(tmp_path / "mine.py")]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "mine.py: BROKEN: made" and told in out and not err


def test_check_method_without_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_method.main([str(tmp_path / "none.py")]) == 2
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert check_method.main([str(tmp_path / "empty.py")]) == 2
    assert "exactly one subclass" in capsys.readouterr().err
