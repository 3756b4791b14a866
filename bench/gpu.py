"""Item 4: the goals on a GPU, an epoch each, on made-up images (what they show changes no time), batch 128.

``python -m bench.gpu torchattacks cuda 60000 1`` prints the seconds of an epoch of BIM(10,30)-Adv with that
attacker inside our training loop, on a LeNet-5 of stock layers; it runs in either environment.
"""

import json
import os
import subprocess
import sys

import torch

from bench import stats
from bench.attacks import PEER_PYTHON
from bench.floors import measure as measure_floors
from bench.nets import IMAGE_SHAPES, book_net, plain_lenet
from bench.peers import ATTACKERS
from bench.subjects import EPSILON
from bench.timing import seconds
from bench.workers import ROOT
from simadv.checks import InputError
from simadv.learners import Adversarial
from simadv.losses import CrossEntropy
from simadv.runs import learner_of
from simadv.specs import run_spec
from simadv.training import Trainer

# name: data set, net, method, images, goal in seconds an epoch
GOALS = {
    "LeNet-5, Vanilla": ("mnist", "lenet", "vanilla", 60_000, None),
    "LeNet-5, SIM(10,20)-Adv": ("mnist", "lenet", "sim", 60_000, None),
    "LeNet-5, BIM(10,30)-Adv": ("mnist", "lenet", "bim", 60_000, 1.0),
    "ResNet-20, SIM-Adv": ("cifar10", "resnet20", "sim", 50_000, 2.0),
}
BATCH = 128


def measure(*, rounds: int, threads: int, quick: bool) -> dict:
    """Return seconds per epoch beside the goals, the same epoch by others, and the floors.

    Raises:
        InputError: there is no CUDA device, or no environment of the peers.
    """
    if not torch.cuda.is_available():
        raise InputError("no CUDA device is here; the GPU part needs one")
    if not PEER_PYTHON.exists():
        raise InputError("the environment of the peers, .venv-bench, is not there; make bench sets it up")
    device = torch.device("cuda")
    rows = []
    for name, (*what, images, goal) in GOALS.items():
        count = 256 if quick else images
        taken = stats.summary(epochs(engine(*what, count, device), rounds, device))
        rows.append({"epoch": name, "images": count, "goal_seconds": goal} | taken)
    ours = next(row["median"] for row in rows if row["goal_seconds"] == 1.0)
    for attacker in ("loop", "torchattacks"):
        count = 256 if quick else 60_000
        taken = stats.summary(child(attacker, "cuda", count, rounds))
        rows.append({"epoch": f"LeNet-5, BIM(10,30)-Adv by {attacker}", "images": count, "goal_seconds": None} | taken)
        rows[-1]["over_ours"] = taken["median"] / ours
    return {"batch": BATCH, "rows": rows} | {
        "floors": measure_floors(rounds=rounds, threads=threads, quick=quick, device=device)
    }


def engine(dataset: str, net: str, method: str, images: int, device: torch.device) -> Trainer:
    """Return a trainer of the book's own method and net."""
    spec = run_spec(dataset, method, precision="bf16", batch_size=BATCH)
    x, y = made_up(net, images, device)
    model = book_net(net).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    return Trainer(learner_of(spec, model, optimizer, x), x, y, epochs=1, batch_size=BATCH, seed=0)


def made_up(net: str, images: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and labels by chance, on the device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, *IMAGE_SHAPES[net], generator=generator)
    return x.to(device), torch.randint(10, (images,), generator=generator).to(device)


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


class Guest:
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

    def state(self) -> dict:
        """Return nothing to keep."""
        return {}


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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(others_epochs(sys.argv[1], torch.device(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
