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
from runners.promises import PROMISES, Subject, broken, stirred
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
FILES = {
    "": "    def prompts(self, source):\n        return self.prompt + self.weight * source.mean()[:, None]\n",
    "order": "    def prompts(self, source):\n        return self.prompt + self.weight * source.mean()[:1]\n",
    "target": "    def prompts(self, source):\n        return self.prompt\n\n    def token_offset(self, embeds):\n"
    "        return (self.weight * embeds.float()).sum(-2, keepdim=True).expand_as(embeds)\n",
}


@pytest.mark.parametrize("name", FILES, ids=lambda n: n or "sound")
def test_check_method_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + FILES[name])
    assert check_method.main([str(file), "prompt_length=2"]) == (1 if name else 0)
    told = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("ok", "BROKEN")) for line in told) == len(PROMISES)
    assert not name or (name in told[-1] and any(line.split()[:2] == ["BROKEN", name] for line in told))


def test_check_method_without_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_method.main([str(tmp_path / "none.py")]) == 2
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert check_method.main([str(tmp_path / "empty.py")]) == 2
    assert "exactly one subclass" in capsys.readouterr().err
