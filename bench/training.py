"""Item 3: seconds per epoch of each method over Vanilla's, what a SIM step does besides passes, and the first layer."""

import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from bench import stats
from bench.nets import book_net, frozen
from bench.subjects import EPSILON, by_chance, dataset_here
from bench.timing import in_turn, seconds
from simadv import attacks
from simadv.attacks import cross_entropy, input_gradient
from simadv.learners import autocast
from simadv.runs import load_data, passes_per_image, pick_device, trainer_of
from simadv.specs import RunSpec, run_spec
from simadv.training import Trainer, steady_allocator

METHODS = ("vanilla", "fgsm", "rfgsm", "free", "atda", "sim", "bim", "madry")
# ATDA's authors train on batches of 32: with those of all others, its loss alone is what makes the difference
LARGER = {"atda, batches of 128": ("atda", {"batch_size": 128})}
# of CIFAR-10's net only what Table 5 of the paper compares: a batch of it takes as long as thirty of LeNet-5's
OF_RESNET = ("vanilla", "free", "atda", "sim", "bim")


def measure(*, rounds: int, threads: int, quick: bool) -> dict:
    """Return the seconds per epoch, ratios, predictions and shares."""
    torch.set_num_threads(threads)
    steady_allocator()
    settings = {"images": 256 if quick else 6_000, "monitor": None, "precision": "bf16"}
    dataset = dataset_here()
    if dataset == "digits":
        settings["images"] = min(settings["images"], 1_437)
    device = pick_device("cpu")
    wanted = {name: (name, {}) for name in METHODS} | LARGER
    specs = {
        name: run_spec(dataset, method, epsilon=EPSILON, **(settings | own)) for name, (method, own) in wanted.items()
    }
    trainers = {name: trainer_of(spec, device) for name, spec in specs.items()}
    few = {"images": 64 if quick else 256, "monitor": None, "precision": "bf16"}
    few_specs = {name: run_spec("cifar10", name, **few) for name in OF_RESNET}
    few_trainers = {name: by_chance(spec, device) for name, spec in few_specs.items()}
    x, y = load_data(dataset, device).x_train[:128], load_data(dataset, device).y_train[:128]
    return (
        {"images": dataset, "settings": settings, "rows": rows(specs, trainers, rounds=rounds)}
        | {"resnet20": {"settings": few, "rows": rows(few_specs, few_trainers, rounds=max(1, rounds // 2))}}
        | {"sim_step": shares(trainer_of(specs["sim"], device), rounds=rounds)}
        | {"first_layer": first_layer(book_net("lenet"), x, y, rounds=5 * rounds)}
    )


def rows(specs: dict[str, RunSpec], trainers: dict[str, Trainer], *, rounds: int) -> list[dict]:
    """Time an epoch of each trainer in turn; return a row a method."""
    clocks = {name: (lambda name=name: epoch(trainers[name])) for name in specs}
    taken = in_turn(clocks, rounds=rounds, label="epochs")
    for name, spec in specs.items():  # a replay of Free-Adv is one epoch of the paper's count
        taken[name] = [value / (spec.m or 1) for value in taken[name]]
    return [row(name, spec, taken) for name, spec in specs.items()]


def epoch(trainer: Trainer) -> float:
    """Train one more epoch and return its seconds, as the trainer itself counts them."""
    before = trainer.progress.seconds
    trainer.epochs = trainer.progress.epoch + 1
    trainer.run()
    return trainer.progress.seconds - before


def row(name: str, spec: RunSpec, taken: dict[str, list[float]]) -> dict:
    """Return a method's seconds per epoch, its ratio to Vanilla's, and the ratio that the passes predict."""
    predicted = stats.units(*passes_per_image(spec)) / (spec.m or 1) / stats.units(1, 1, 1)
    found = {"method": spec.method, "batch": spec.batch_size} | stats.summary(taken[name])
    return found | {"over_vanilla": stats.ratio(taken[name], taken["vanilla"]), "predicted": predicted}


class Clocked:
    """Something that is called or used as before, with the seconds of its calls added up under a name."""

    def __init__(self, inner, clock: dict[str, float], name: str) -> None:
        self.inner, self.clock, self.name = inner, clock, name

    def __call__(self, *values, **options):
        began = time.perf_counter()
        try:
            return self.inner(*values, **options)
        finally:
            self.clock[self.name] += time.perf_counter() - began

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


def shares(trainer: Trainer, *, rounds: int) -> dict[str, float]:
    """Return how a SIM epoch divides, in percent, the median of rounds.

    ``rest`` is all that is neither a pass nor the optimizer's; ``examples`` the part of it that goes into reading,
    moving (sign, step, projection) and storing the carried examples.
    """
    clock, found = {}, {"passes": [], "optimizer": [], "rest": [], "examples": []}
    learner = trainer.learner
    learner.objective = Clocked(learner.objective, clock, "update")
    learner.optimizer.step = Clocked(learner.optimizer.step, clock, "optimizer")
    learner.optimizer.zero_grad = Clocked(learner.optimizer.zero_grad, clock, "optimizer")
    learner.adversary = Clocked(learner.adversary, clock, "adversary")

    def backward(loss: Tensor, *, inner: Callable = Tensor.backward) -> None:
        Clocked(inner, clock, "update")(loss)

    gradient = Clocked(attacks.input_gradient, clock, "gradient")
    with mock.patch.object(attacks, "input_gradient", gradient), mock.patch.object(Tensor, "backward", backward):
        for number in range(rounds + 1):
            clock.update(update=0.0, gradient=0.0, optimizer=0.0, adversary=0.0)
            whole = epoch(trainer)
            if number:
                passes = clock["update"] + clock["gradient"]
                found["passes"].append(passes / whole)
                found["optimizer"].append(clock["optimizer"] / whole)
                found["rest"].append(1 - (passes + clock["optimizer"]) / whole)
                found["examples"].append((clock["adversary"] - clock["gradient"]) / whole)
    return {name: 100 * sorted(values)[len(values) // 2] for name, values in found.items()}


def halves(net: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return LeNet-5 up to its first convolution, that included, and the rest."""
    cut = [name for name, _ in net.body.named_children()].index("0") + 1
    return net.body[:cut], nn.Sequential(*net.body[cut:], net.head)


def first_layer(net: nn.Module, x: Tensor, y: Tensor, *, rounds: int) -> dict[str, float]:
    """Return the seconds of a gradient pass to the image and of one that ends behind the first convolution."""
    first, rest = halves(frozen(net))

    def whole() -> None:
        with autocast(x.device, "bf16"):
            input_gradient(net, x, y)

    def without() -> None:
        with autocast(x.device, "bf16"), torch.enable_grad():
            h = first(x).detach().requires_grad_(True)
            torch.autograd.grad(cross_entropy(rest(h), y, "sum"), h)

    def forward() -> None:
        with autocast(x.device, "bf16"), torch.no_grad():
            net(x)

    works = {"whole": whole, "without": without, "forward": forward}
    clocks = {name: (lambda work=work: seconds(work)) for name, work in works.items()}
    taken = in_turn(clocks, rounds=rounds, label="first layer")
    times = {name: stats.summary(values)["median"] for name, values in taken.items()}
    dearer = 100 * (stats.ratio(taken["whole"], taken["without"]) - 1)
    return {
        "batch": len(x),
        "seconds": times,
        "dearer_percent": dearer,
        "pass_over_forward": times["whole"] / times["forward"],
    }
