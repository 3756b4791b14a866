"""A run that is killed with SIGKILL at random moments and resumed ends in the bits of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from simadv.specs import RunSpec
from simadv.store import Store

HERE = Path(__file__).resolve().parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STATE = {"sim": {"carried", "phase"}, "atda": {"centers"}, "free": {"delta"}}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of the runs, and what happened to them."""
    folder = tmp_path_factory.mktemp("killed")
    environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, HERE / "killed.py", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("method", STATE)
def test_a_killed_run_ends_in_the_same_bits(method, killed):
    folder, report = killed[0] / method, killed[1][method]
    kills = [kill for round_ in report["rounds"] for kill in round_]
    print(report)  # shown where the test fails
    assert len(kills) >= 20
    halves = [name for kill in kills for name in kill["half_written"]]
    assert halves.count("checkpoint") >= 5, "too few kills came in the middle of a write"
    assert {"weights", "run"} <= set(halves), "no kill came while the run was being finished"
    assert not any(kill["finished"] for kill in kills if kill["half_written"]), "it counted before it was whole"
    assert len({str(kill["kept"]) for kill in kills}) >= 5, "the kills came at too few moments"
    for round_ in report["rounds"]:
        kept = [kill["kept"] for kill in round_ if kill["kept"] is not None]
        assert kept == sorted(kept), "a kill took back what was saved"
    whole, run_id = Store(folder / "whole"), report["id"]
    expected = load_file(folder / "whole" / "last.safetensors")
    assert {f"learner.{name}" for name in STATE[method]} <= set(expected)
    assert any(name.startswith("optimizer.") for name in expected)
    for number in range(len(report["rounds"])):
        home = folder / f"killed-{number}"
        tensors = load_file(home / "last.safetensors")
        assert set(tensors) == set(expected)
        assert [name for name in expected if not torch.equal(tensors[name], expected[name])] == []
        weights = [(root / run_id / "weights.safetensors").read_bytes() for root in (folder / "whole", home)]
        assert weights[0] == weights[1]
        ours, theirs = Store(home).get(run_id), whole.get(run_id)
        assert isinstance(ours.spec, RunSpec)
        assert ours.spec == theirs.spec
        assert ours.history == theirs.history
        assert ours.weights == theirs.weights
        for name in ("forward", "backward", "monitor_forward", "monitor_backward"):
            assert ours.cost[name] == theirs.cost[name], "what a kill undid was counted twice"
