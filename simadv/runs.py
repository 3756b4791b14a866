r"""From a spec to a trained model: look it up, or go on from a checkpoint, or train it, and store it."""

import os
import platform
import re
import shlex
import subprocess
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache

import torch

from simadv import data
from simadv.adversaries import SIM, Attacker, NoAdversary
from simadv.attacks import Attack
from simadv.checks import InputError
from simadv.learners import NATIVE, Adversarial, FreeReplay
from simadv.losses import AdversarialHalf, CrossEntropy, DomainAdaptation
from simadv.neighbours import MEP, Consistency, FreeSIM
from simadv.specs import CLASSES, IMAGE_SHAPES, METHODS, TRAINING_IMAGES, RunSpec
from simadv.store import HOME, Run, Store, build_model, default
from simadv.training import Monitor, Trainer


class Unfinished(RuntimeError):
    """A run stopped before its end because its time was up; what was done is saved."""


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``.

    All work begins here, so it is here that TF32 is turned off, which torch lets GPUs take for float32, and cuDNN is
    held to sums of one order, so that a run that goes on ends in the same bits there too.

    Raises:
        InputError: the device is not known or not there.
    """
    # what is called float32 has all its bits on a GPU, too, and is summed in one order
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(name)):
        raise InputError(f"device = {name!r} is not known; allowed: auto, cpu, cuda, cuda:0, ...")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device = {name!r} asked for, but {torch.cuda.device_count()} GPUs are here; try cpu or auto")
    return device


@cache
def load_data(name: str, device: torch.device) -> data.Dataset:
    """Return a data set, loaded once a process."""
    return data.load(name, device=device)


def provenance(device: torch.device, *, alone: bool) -> dict:
    """Return what a reader needs to trust a number: code, versions, device, date, and whether it ran alone."""

    def git(*words: str) -> str:
        # by a shell, since git may not be there at all
        done = subprocess.run(shlex.join(["git", "-C", str(HOME), *words]), shell=True, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    return {
        "commit": git("rev-parse", "HEAD") + "+changes" * (git("status", "-s", "--", "simadv") not in ("", "unknown")),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "alone": alone,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def cpu_name() -> str:
    """Return the processor's name, how many cores this process sees, and whether it computes bf16 by other means."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            name = next((line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores{'' if NATIVE else ', bf16 by float32'}"


def trainer_of(spec: RunSpec, device: torch.device) -> Trainer:
    """Return a trainer at the start of a run."""
    dataset = load_data(spec.dataset, device)
    x, y = dataset.x_train[: spec.images], dataset.y_train[: spec.images]
    model = build_model(spec).to(device)
    if spec.optimizer == "adam":
        options = {"fused": True, "capturable": device.type == "cuda"}
        optimizer = torch.optim.Adam(model.parameters(), spec.lr, weight_decay=spec.weight_decay, **options)
    else:
        optimizer = torch.optim.SGD(model.parameters(), spec.lr, momentum=0.9, weight_decay=spec.weight_decay)
    monitor = None
    if spec.monitor is not None:
        watched = slice(None, spec.monitor_images)
        attack = Attack.parse(spec.monitor, epsilon=spec.epsilon)
        monitor = Monitor(dataset.x_test[watched], dataset.y_test[watched], attack, spec.precision)
    view = data.PadCropFlip if spec.augment == "pad-crop-flip" else data.Identity
    settings = {"epochs": spec.passes_over_data, "batch_size": spec.batch_size, "seed": spec.seed}
    settings |= {"rate": rate_of(spec), "augment": view, "monitor": monitor}
    return Trainer(learner_of(spec, model, optimizer, x), x, y, **settings)


def learner_of(spec: RunSpec, model, optimizer, x) -> Adversarial | FreeReplay:
    """Return the update that a method makes of each batch."""
    if spec.method == "free":
        return FreeReplay(model, optimizer, spec.precision, epsilon=spec.epsilon, m=spec.m, slots=x[: spec.batch_size])
    carrying = {"sim": SIM, "sim-k": SIM, "atta": SIM, "free-sim": FreeSIM, "mep": MEP}
    if spec.method in carrying:
        settings = {name: getattr(spec, name) for name in METHODS[spec.method] if name != "lambda_"}
        adversary = carrying[spec.method](x, epsilon=spec.epsilon, seed=spec.seed, **settings)
    else:
        adversary = NoAdversary() if spec.method == "vanilla" else Attacker(spec.attack)
    if spec.method == "mep":
        objective = Consistency(adversary, lambda_=spec.lambda_)
    elif spec.lambda_ is not None:
        adapted = {"lambda_": spec.lambda_, "beta": spec.beta, "coral_form": spec.coral}
        objective = DomainAdaptation(CLASSES, device=x.device, **adapted)
    else:
        objective = AdversarialHalf() if spec.method in ("rs-fgsm", "n-fgsm", "atta") else CrossEntropy()
    return Adversarial(model, optimizer, adversary, objective, spec.precision)


def rate_of(spec: RunSpec):
    """Return the learning rate of an epoch: constant, or divided by 10 at one half and three quarters."""
    last, falls = spec.passes_over_data, spec.schedule != "constant"
    return lambda epoch: spec.lr * 0.1 ** (falls * ((2 * epoch >= last) + (4 * epoch >= 3 * last)))


def passes_per_image(spec: RunSpec) -> tuple[float, float, int]:
    """Return the forward passes, the backward passes, and how many of these reach the weights, of one data pass.

    Where an attack pass is made in some epochs alone, it is their mean.
    """
    learner = learner_of(spec, None, torch.optim.SGD([torch.zeros(1)]), torch.zeros(1, *IMAGE_SHAPES[spec.dataset]))
    share = spec.epochs // spec.fresh / spec.epochs if spec.fresh else 0
    return learner.passes[0] + share, learner.passes[1] + share, learner.updates


def passes(spec: RunSpec) -> tuple[int, int]:
    """Return the forward and backward passes of a run's training, in images, without its monitor."""
    images = spec.images or TRAINING_IMAGES[spec.dataset]
    forward, backward, _ = passes_per_image(spec)
    return round(forward * images * spec.passes_over_data), round(backward * images * spec.passes_over_data)


def load_or_run(
    spec: RunSpec, *, store: Store | None = None, device="auto", deadline=None, save_every=60.0, alone=False
) -> Run:
    """Return the stored run of ``spec``; else go on from its checkpoint, or train it, and store it.

    Args:
        deadline: as :func:`time.monotonic` counts.
        save_every: seconds between checkpoints.
        alone: the caller's word that nothing else ran on the device, kept with the seconds of a run that was never
            stopped.

    Raises:
        Unfinished: the deadline came first. KeyboardInterrupt: stopped; in both cases what was done is saved.
        InputError: the device or the data are not there, or the store is damaged; before any work.
    """
    store = store or default()
    if (found := store.find(spec)) is not None:
        return found
    target = pick_device(device)
    load_data(spec.dataset, target)
    if spec.caution:
        warnings.warn(f"{spec.id}: {spec.caution}", stacklevel=2)
    with store.lock(spec), torch.random.fork_rng([target] * (target.type == "cuda")):
        if (found := store.find(spec)) is not None:  # another process may have finished it meanwhile
            return found
        kept = store.load_checkpoint(spec)
        trainer = trainer_of(spec, target)
        if kept is not None:
            trainer.load(*kept)

        def save() -> None:
            store.save_checkpoint(spec, trainer.tensors(), asdict(trainer.progress))

        if not trainer.run(save=save, save_every=save_every, deadline=deadline, label=spec.id):
            at = f"epoch {trainer.progress.epoch}, step {trainer.progress.step}"
            raise Unfinished(f"{spec.id}: time is up at {at}; it is saved, run it again")
        state, about = asdict(trainer.progress), provenance(target, alone=alone and not kept)
        cost = {name: value for name, value in state.items() if name not in ("epoch", "step", "history")}
        return store.finish(spec, trainer.learner.model, state["history"], cost, about)
