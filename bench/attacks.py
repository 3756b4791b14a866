"""Item 2: BIM(10,40) on LeNet-5, images per second, ours and four libraries'; accuracy and examples side by side."""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from bench import stats
from bench.nets import frozen, plain_lenet
from bench.peers import PEERS
from bench.subjects import EPSILON, Subject, subject
from bench.timing import in_turn
from simadv.attacks import predict
from simadv.checks import InputError
from simbook.workers import PEER_PYTHON, Worker

# row of the table: process, and what it is asked for
OURS = {"ours, bf16": ("ours", "book bf16"), "ours, float32": ("ours", "book float32")}
ON_PLAIN = {f"{name}, plain net": (name, "plain float32") for name in PEERS}
ON_BOOKS = {f"{name}, book's net": (name, "book float32") for name in PEERS}
# one net, one precision: what is left between two attackers is their own arithmetic
OURS_ON_PLAIN = {"ours, plain net": ("ours", "plain float32")}
# in float64 rounding hardly ever turns a sign: what differs there differs by definition (the others cast to float32)
DOUBLE = {f"{name}, float64": (name, "book float64") for name in ("ours", "torchattacks", "foolbox")}
CLOSE = 1e-6


def measure(*, rounds: int, threads: int, quick: bool) -> dict:
    """Return speed, robust accuracy and agreement of all attackers.

    Raises:
        InputError: the environment of the libraries is not there.
    """
    if not PEER_PYTHON.exists():
        raise InputError("the environment of the peers, .venv-bench, is not there; make peers sets it up")
    batch, images, n2 = (20, 40, 2) if quick else (500, 2_000, 40)
    found = subject(images)
    settings = {"epsilon": EPSILON, "n1": 10, "n2": n2, "batch": batch, "threads": threads}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        shared = Path(folder) / "subject.pt"
        torch.save({"weights": found.weights, "x": found.x, "y": found.y}, shared)
        settings["file"] = str(shared)
        workers = {name: stack.enter_context(start(name, settings, Path(folder))) for name in ("ours", *PEERS)}
        for worker in workers.values():  # all are loaded before anything is timed
            worker.read()
        clocks = {
            row: (lambda name=name, net=net: workers[name].ask(f"go {net} {batch}")["seconds"])
            for row, (name, net) in (OURS | OURS_ON_PLAIN | ON_PLAIN | ON_BOOKS).items()
        }
        taken = in_turn(clocks, rounds=rounds, label=f"BIM(10,{n2})")
        made = {}
        everything = (OURS | OURS_ON_PLAIN | ON_PLAIN | ON_BOOKS | DOUBLE).items()
        for row, (name, net) in tqdm(everything, desc="examples", unit="attacker", disable=None):
            count = min(batch, len(found.x)) if row in DOUBLE else len(found.x)
            made[row] = examples(workers[name], net, count, Path(folder))
    result = {"images": found.dataset, "net": found.run, "attack": f"BIM(10,{n2})", "epsilon": EPSILON}
    result |= {"batch": batch, "accuracy_images": len(found.x)}
    return result | {"rows": rows(taken, made, found, batch)} | compared(taken, made)


def start(name: str, settings: dict, folder: Path) -> Worker:
    """Start one attacker in the environment that it needs."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(settings | {"attacker": name}))
    python = sys.executable if name == "ours" else str(PEER_PYTHON)
    return Worker(name, [python, "-m", "bench.worker", str(path)], gpu=False)


def examples(worker: Worker, net: str, count: int, folder: Path) -> Tensor:
    """Return the examples that one attacker makes of the first ``count`` images."""
    path = folder / "examples.pt"
    worker.ask(f"examples {net} {count} {path}")
    return torch.load(path, weights_only=True)


def rows(taken: dict, made: dict, found: Subject, batch: int) -> list[dict]:
    """Return one row an attacker: images per second, spread, robust accuracy (all judged by one net in float32)."""
    judge = frozen(plain_lenet(found.weights))
    table = []
    for name, seconds in taken.items():
        found_time = stats.summary(seconds)
        robust = float((predict(judge, made[name]) == found.y).double().mean())
        speed = {"images_per_second": batch / found_time["median"], "spread": found_time["spread"]}
        table.append({"attacker": name} | speed | {"rounds": found_time["rounds"], "robust": 100 * robust})
    return table


def agreement(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Return in how many percent of the images and of the pixels two sets of examples are the same to 1e-6."""
    same = (ours.double() - theirs.double()).abs() <= CLOSE
    share = {"images": same.flatten(1).all(1), "pixels": same}
    return {name: 100 * float(hits.double().mean()) for name, hits in share.items()}


def compared(taken: dict, made: dict) -> dict:
    """Return ours against the fastest library, on either net, and how far the examples agree."""
    speeds = {}
    for title, group in (("plain net", ON_PLAIN), ("book's net", ON_BOOKS)):
        fastest = min(group, key=lambda name: stats.summary(taken[name])["median"])
        ratios = {ours: stats.ratio(taken[fastest], taken[ours]) for ours in OURS}
        speeds[title] = {"fastest": fastest, "times": ratios}
    same = {name: agreement(made["ours, float32"], made[name]) for name in ON_BOOKS | ON_PLAIN}
    same |= {name: agreement(made["ours, float64"], made[name]) for name in DOUBLE if name != "ours, float64"}
    on_plain = {
        first: {second: agreement(made[first], made[second]) for second in ON_PLAIN if second != first}
        for first in OURS_ON_PLAIN | ON_PLAIN
    }
    return {"ours_over_fastest": speeds, "agreement": same, "agreement_on_plain_net": on_plain}
