"""Item 4: the goals on a GPU, an epoch each, on made-up images (what they show changes no time), batch 128.

``python -m bench.gpu torchattacks cuda 60000 1`` prints the seconds of an epoch of BIM(10,30)-Adv with that
attacker inside our training loop, on a LeNet-5 of stock layers; it runs in either environment.
"""

import json
import math
import subprocess
import sys
from contextlib import nullcontext
from unittest import mock

import torch

from bench import stats
from bench.floors import measure as measure_floors
from bench.nets import book_net, plain_lenet
from bench.peers import ATTACKERS
from bench.subjects import EPSILON, by_chance, made_up
from bench.timing import seconds
from simadv import graphs
from simadv.adversaries import Adversary
from simadv.checks import InputError
from simadv.learners import Adversarial
from simadv.losses import CrossEntropy
from simadv.specs import run_spec
from simadv.training import Trainer
from simbook.workers import PEER_PYTHON, ROOT, found_first

# name: data set, method, images, goal in seconds an epoch
GOALS = {
    "LeNet-5, Vanilla": ("mnist", "vanilla", 60_000, None),
    "LeNet-5, SIM(10,20)-Adv": ("mnist", "sim", 60_000, None),
    "LeNet-5, BIM(10,30)-Adv": ("mnist", "bim", 60_000, 1.0),
    "ResNet-20, SIM(10,20)-Adv": ("cifar10", "sim", 50_000, 2.0),
}
BATCH = 128


def measure(*, rounds: int, threads: int, quick: bool) -> dict:
    """Return seconds per epoch beside the goals, the same epochs not recorded and by others, bits, and the floors.

    Raises:
        InputError: there is no CUDA device, or no environment of the peers.
    """
    if not torch.cuda.is_available():
        raise InputError("no CUDA device is here; the GPU part needs one")
    if not PEER_PYTHON.exists():
        raise InputError("the environment of the peers, .venv-bench, is not there; make peers sets it up")
    device, rows = torch.device("cuda"), []

    def row(name: str, images: int, taken: list[float], goal: float | None = None, over: dict | None = None) -> dict:
        found = {"epoch": name, "images": images, "goal_seconds": goal} | stats.summary(taken)
        rows.append(found | ({"over_ours": found["median"] / over["median"]} if over else {}))
        return rows[-1]

    for name, (dataset, method, images, goal) in GOALS.items():
        count = 512 if quick else images
        ours = row(name, count, epochs(engine(dataset, method, count, device), rounds, device), goal)
        if goal is None:
            continue
        ours["same_bits"] = same_bits(dataset, method, 1_000, device)
        with unrecorded():
            eager = epochs(engine(dataset, method, count, device), rounds, device)
        row(f"{name}, not recorded", count, eager, over=ours)
        for attacker in ("loop", "torchattacks") if method == "bim" else ():
            row(f"{name} by {attacker}", count, child(attacker, "cuda", count, rounds), over=ours)
    floors = measure_floors(rounds=rounds, threads=threads, quick=quick, device=device)
    return {"batch": BATCH, "rows": rows, "floors": floors}


def engine(dataset: str, method: str, images: int, device: torch.device, batch: int = BATCH) -> Trainer:
    """Return the trainer of a run as the book makes it, on images by chance."""
    spec = run_spec(dataset, method, precision="bf16", batch_size=batch, monitor=None, images=images)
    return by_chance(spec, device)


def unrecorded():
    """Return the context in which every step is launched operation by operation."""
    return mock.patch.object(graphs, "WARM_UP", math.inf)


def same_bits(dataset: str, method: str, images: int, device: torch.device, batch: int = BATCH) -> bool:
    """Return whether two epochs from records end in the same bits as two that are launched as they are."""
    ends = []
    for context in (nullcontext(), unrecorded()):
        trainer = engine(dataset, method, images, device, batch)
        trainer.epochs = 2
        with context, torch.backends.cudnn.flags(enabled=True, deterministic=True):
            trainer.run()
        ends.append(trainer.tensors())
    return all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def epochs(trainer: Trainer, rounds: int, device: torch.device) -> list[float]:
    """Return the seconds of ``rounds`` epochs, after one that does not count."""

    def one() -> None:
        trainer.epochs = trainer.progress.epoch + 1
        trainer.run()

    return [seconds(one, device) for _ in range(rounds + 1)][1:]


def loop(net, *, epsilon: float, n1: float, n2: int, precision: str, batch: int):
    """Return BIM as a plain eager loop."""

    def call(x, y):
        x_tilde = x
        for _ in range(n2):
            x_tilde = x_tilde.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(net(x_tilde), y), x_tilde)
            moved = x_tilde.detach() + epsilon / n1 * gradient.sign()
            x_tilde = torch.min(torch.max(moved, x - epsilon), x + epsilon).clamp(0, 1)
        return x_tilde

    return call


class Guest(Adversary):
    """Somebody else's attack as an adversary of our training loop."""

    passes = (30, 30)

    def __init__(self, attack) -> None:
        self.attack = attack

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator):
        """Return the attack's examples, made in eval mode as ours are."""
        model.eval()
        x_tilde = self.attack(x_hat, y).detach()
        model.train()
        return x_tilde


def others_epochs(attacker: str, device: torch.device, images: int, rounds: int) -> list[float]:
    """Return the seconds of epochs of BIM(10,30)-Adv by ``attacker`` on stock layers, in float32."""
    model = plain_lenet(book_net("lenet").state_dict()).to(device)
    options = {"epsilon": EPSILON, "n1": 10, "n2": 30, "precision": "float32", "batch": BATCH}
    guest = Guest((ATTACKERS | {"loop": loop})[attacker](model, **options))
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    learner = Adversarial(model, optimizer, guest, CrossEntropy(), "float32")
    x, y = made_up("lenet", images, device)
    return epochs(Trainer(learner, x, y, epochs=1, batch_size=BATCH, seed=0), rounds, device)


def child(attacker: str, device: str, images: int, rounds: int) -> list[float]:
    """Return what a process in the peers' environment measures."""
    command = [str(PEER_PYTHON), "-m", "bench.gpu", attacker, device, str(images), str(rounds)]
    environment = found_first(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(others_epochs(sys.argv[1], torch.device(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
