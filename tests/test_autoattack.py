"""AutoAttack: what is counted, attack by attack, and what is asked of the library; the library itself where it is."""

import json
import shlex
import sys
from dataclasses import replace

import pytest
import torch

from simadv import models
from simadv.checks import InputError
from simadv.data import Dataset
from simadv.runs import load_or_run
from simadv.specs import run_spec
from simbook import chapters, workers
from simbook.measures import autoattack, four
from simbook.measures.autoattack import AutoAttack
from simbook.measures.base import take

TINY = {"images": 64, "batch_size": 16, "epochs": 3, "monitor": None}
# All but APGD-T move to grey as far as the ball lets them; APGD-T leaves it.
STUB = """
import json
from pathlib import Path

class Attack:
    def __init__(self, net, **options):
        self.epsilon = options["eps"]
        with open(Path(__file__).parent / "asked.jsonl", "a") as file:
            print(json.dumps([type(self).__name__, options]), file=file)

    def __call__(self, x, y):
        print("noise on stdout")
        if type(self).__name__ == "APGDT":
            return x + 1
        return x + (0.5 - x).clamp(-self.epsilon, self.epsilon)

class APGD(Attack): pass
class APGDT(Attack): pass
class FAB(Attack): pass
class Square(Attack): pass
"""


@pytest.mark.parametrize("name", ["images", "steps", "queries"])
def test_bad_settings_are_refused(name):
    with pytest.raises(InputError, match=f"{name} = 0 must be at least 1"):
        AutoAttack(**({"images": 5} | {name: 0}))


def test_the_standard_is_in_the_id():
    usual = AutoAttack(images=100)
    assert (usual.steps, usual.queries, four.FOUR) == (100, 5000, ("apgd-ce", "apgd-t", "fab-t", "square"))
    assert len({usual.id, replace(usual, steps=10).id, replace(usual, queries=1).id, replace(usual, images=9).id}) == 4


def test_an_example_counts_inside_its_ball_and_the_range_of_pixels():
    x = torch.tensor([0.0, 0.5, 0.5, 0.95, 0.5, 0.5]).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()
    examples = x.clone()
    examples[0, 0, 0, 1] = -0.05  # in the ball, no pixel
    examples[1] += 0.1 + 5e-7
    examples[2, 0, 1, 1] -= 0.101
    examples[3] += 0.1
    examples[4, 0, 0, 0] = float("nan")
    assert four.inside(examples, x, 0.1).tolist() == [False, True, False, False, False, True]


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Another Python, as the measure sees it: ours, with a library that does what :data:`STUB` says."""
    (tmp_path / "torchattacks.py").write_text(STUB)
    (tmp_path / "torchattacks-7.dist-info").mkdir()
    (tmp_path / "torchattacks-7.dist-info" / "METADATA").write_text("Name: torchattacks\nVersion: 7\n")
    python = tmp_path / "python"
    call = f'PYTHONPATH="$PYTHONPATH:{tmp_path}" exec {shlex.quote(sys.executable)} "$@"'
    python.write_text(f"#!/bin/sh\n{call}\n")
    python.chmod(0o755)
    monkeypatch.setattr(workers, "PEER_PYTHON", python)
    monkeypatch.setattr(workers, "INSTALLED", python)
    return tmp_path


class Bright(torch.nn.Module):
    """Class 1 where the mean of an image is above 0.3."""

    def forward(self, x):
        bright = x.flatten(1).mean(1) - 0.3
        return torch.stack([-bright, bright] + [torch.full_like(bright, -9.0)] * 8, 1)


def test_each_attack_meets_what_those_before_it_left(monkeypatch, tmp_path):
    """Ten dark images, two of them of another class; the answers are counted by hand."""
    seen = []

    def found(rows):
        def call(x, y):
            seen.append(len(x))
            made = x.clone()
            made[rows] = 0.5
            return made

        return call

    stubs = {"apgd-ce": found([0, 1]), "apgd-t": found([]), "fab-t": lambda x, y: x + 1, "square": found([-1])}
    monkeypatch.setattr(four, "attacks", lambda net, **options: stubs)
    monkeypatch.setattr(models, "build", lambda *args, **options: Bright())
    about = {"model": "lenet", "epsilon": 0.4, "steps": 1, "queries": 1, "device": "cpu"}
    about["threads"] = torch.get_num_threads()
    x, y = torch.full((10, 1, 2, 2), 0.2), torch.tensor([0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
    torch.save({"weights": {}, "x": x, "y": y, "about": json.dumps(about)}, tmp_path / "net.pt")
    answer = four.Answers(str(tmp_path / "net.pt"))
    lines = ["clean 0 6", "apgd-ce 0 6", "fab-t 0 6", "clean 6 12", "apgd-ce 6 12", "apgd-t 6 12", "square 6 12"]
    assert [tuple(answer(line).values()) for line in lines] == [(5, 0), (3, 0), (3, 3), (3, 0), (1, 0), (1, 0), (0, 0)]
    assert seen == [5, 3, 1, 1]
    assert tuple(answer("fab-t 6 12").values()) == (0, 0), "nothing is left, so nothing is asked"


def test_the_measure_sums_over_batches_and_says_which_library(stub, own_store, monkeypatch):
    monkeypatch.setattr(autoattack, "BATCH", 8)
    run = load_or_run(run_spec("digits", "vanilla", epochs=3, monitor=None), store=own_store, device="cpu")
    found = take(run, AutoAttack(images=20), store=own_store, device="cpu")
    left = found["left"]
    assert list(left) == ["clean", *four.FOUR]
    assert (found["images"], found["true"], found["library"]) == (20, left["square"], "torchattacks 7")
    assert found["outside"] == left["apgd-ce"] == left["apgd-t"], "it met all that was left, and fooled nobody"
    assert left["square"] == left["fab-t"] == left["apgd-ce"] <= left["clean"] <= 20, "the same grey each time"
    assert own_store.evaluation(run, AutoAttack(images=20))["left"] == left
    ball = {"norm": "Linf", "eps": run.spec.epsilon, "n_restarts": 1, "seed": 0}
    assert [json.loads(line) for line in (stub / "asked.jsonl").read_text().splitlines()] == [
        ["APGD", {"loss": "ce", "steps": 100} | ball],
        ["APGDT", {"steps": 100, "n_classes": 10} | ball],
        ["FAB", {"steps": 100, "multi_targeted": True, "n_classes": 10} | ball],
        ["Square", {"n_queries": 5000} | ball],
    ]


def test_without_the_environment_nothing_is_asked_for_and_asking_says_why(own_store, monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "INSTALLED", tmp_path / ".installed")
    run = load_or_run(run_spec("digits", "vanilla", **TINY), store=own_store, device="cpu")
    measure = AutoAttack(images=4)
    assert chapters.unmeasured(run, [measure], own_store) == []
    with pytest.raises(InputError, match=r"AutoAttack: it needs the environment \.venv-bench; make peers sets it up"):
        take(run, measure, store=own_store, device="cpu")
    monkeypatch.setattr(workers, "INSTALLED", tmp_path)
    assert chapters.unmeasured(run, [measure], own_store) == [measure]


@pytest.mark.skipif(not workers.INSTALLED.exists(), reason="AutoAttack needs make peers")
def test_the_library_itself(own_store, digits):
    """A net that is not robust falls, and every example lies in its ball."""
    run = load_or_run(run_spec("digits", "vanilla", epochs=3, monitor=None), store=own_store, device="cpu")
    data = Dataset("digits", digits.x_train, digits.y_train, digits.x_test, digits.y_test)
    found = AutoAttack(images=30, steps=5, queries=50).work(run.spec, own_store.model(run), data)
    assert found["library"].startswith("torchattacks 3.")
    assert found["left"]["clean"] > 15
    assert found["true"] < 5
    assert found["outside"] == 0


def test_an_example_may_stray_by_rounding_alone():
    x = torch.full((2, 1, 1, 1), 0.5)
    moved = x + torch.tensor([0.1 + 5e-7, 0.1 + 1e-5]).view(2, 1, 1, 1)
    assert four.inside(moved, x, 0.1).tolist() == [True, False]


def test_the_net_is_attacked_in_eval_mode(monkeypatch, tmp_path):
    monkeypatch.setattr(four, "attacks", lambda net, **options: {})
    monkeypatch.setattr(models, "build", lambda *args, **options: Bright().train())
    about = {"model": "lenet", "epsilon": 0.4, "steps": 1, "queries": 1, "device": "cpu"}
    about["threads"] = torch.get_num_threads()
    x, y = torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64)
    torch.save({"weights": {}, "x": x, "y": y, "about": json.dumps(about)}, tmp_path / "net.pt")
    assert not four.Answers(str(tmp_path / "net.pt")).net.training
