r"""The training loop of section 2.2: shuffle, make examples, minimise, watch, and stop at any step.

A run is a :class:`Trainer` that repeats one learner (:mod:`simadv.learners`). All randomness is a function of
(seed, epoch, step), and of torch's own generator where a model has dropout, so a run that is stopped anywhere and
resumed ends in the same bits.
"""

import ctypes
import math
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from simadv.attacks import Attack, predict
from simadv.checks import InputError, images, one_of, whole
from simadv.data import Identity, batches
from simadv.learners import PRECISIONS, Adversarial, autocast
from simadv.losses import CrossEntropy


def steady_allocator() -> None:
    """Keep freed memory in the process (glibc): returning it costs a page fault per 4 KiB at every step."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: up to 32 MiB, the most it takes, from the heap
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink


def generator_for(seed: int, *position: int, device: torch.device) -> torch.Generator:
    """Return a generator that depends on nothing but ``seed`` and the position in the run (epoch, step)."""
    mixed = 0x9E3779B97F4A7C15
    for part in (seed, *position):
        mixed = ((mixed ^ (part + 1)) * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**63
    return torch.Generator(device).manual_seed(mixed)


@dataclass(frozen=True)
class Monitor:
    """Robust accuracy after each epoch, on a fixed slice, for show alone: nothing is selected by it.

    The examples are crafted in the training precision; they are judged in float32.
    """

    x: Tensor
    y: Tensor
    attack: Attack
    precision: str

    def __post_init__(self) -> None:
        images(self.x, self.y)
        one_of("precision", self.precision, PRECISIONS)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Return clean and robust accuracy in percent."""
        clean = robust = 0
        for x, y in zip(self.x.split(500), self.y.split(500), strict=True):
            generator = generator_for(0, device=x.device)
            with autocast(x.device, self.precision):
                x_tilde = self.attack(model, x, y, generator=generator)
            clean += int((predict(model, x) == y).sum())
            robust += int((predict(model, x_tilde) == y).sum())
        return {"clean": 100 * clean / len(self.y), "robust": 100 * robust / len(self.y)}

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes of one call, all images together."""
        forward, backward = self.attack.passes
        return (forward + 2) * len(self.y), backward * len(self.y)


@dataclass
class Progress:
    """How far a run is, what it has cost, and what was seen on the way (plain numbers, kept in checkpoints)."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    monitor_seconds: float = 0.0
    forward: int = 0
    backward: int = 0
    monitor_forward: int = 0
    monitor_backward: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def bar(steps=None, **options) -> tqdm:
    """Return tqdm's bar: in a terminal, and in a notebook from half a minute on till the end; not where captured."""
    notebook = type(sys.stderr).__module__.startswith("ipykernel")  # no terminal, but somebody may look
    options |= {"delay": 30, "leave": False} if notebook else {"disable": None}
    return tqdm(steps, file=sys.stderr, mininterval=1, **options)


@contextmanager
def stop_request() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that a step is never cut in two; a second Ctrl-C is a Ctrl-C."""
    event, here = threading.Event(), threading.current_thread() is threading.main_thread()
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM) if here}

    def ask(kind: int, frame) -> None:
        event.set()
        signal.signal(kind, before[kind])

    for kind in before:
        signal.signal(kind, ask)
    try:
        yield event
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


class Trainer:
    """Repeat a learner over shuffled batches; stop, save and resume at any step.

    Args:
        learner: the update of a batch.
        x, y: the training set on its device, ``(N, C, H, W)`` and ``(N,)``.
        epochs: passes over the data.
        batch_size: images a step (the last batch of an epoch may be shorter).
        seed: of the order of the images, the augmentation and the attacks' random starts.
        rate: learning rate of an epoch.
        augment: makes the view of a batch, ``(shape, generator) -> View``.
        monitor: called after each epoch; costs counted apart.
    """

    def __init__(
        self, learner, x, y, *, epochs, batch_size, seed, rate=None, augment=Identity, monitor: Monitor | None = None
    ) -> None:
        self.learner, self.x, self.y = learner, x, y
        self.epochs, self.batch_size = (whole("epochs", epochs, least=1), whole("batch_size", batch_size, least=1))
        self.seed, self.rate, self.augment, self.monitor = (whole("seed", seed, least=0), rate, augment, monitor)
        self.progress = Progress()
        self.loss_sum = torch.zeros((), device=x.device, dtype=torch.float64)
        self.steps_an_epoch = math.ceil(len(x) / batch_size)
        self._order, self._ordered = [], -1  # the batches of an epoch, and which

    def run(self, *, save=None, save_every=60.0, deadline=None, label="training") -> bool:
        """Train to the end and return True, or stop at a saved step before ``deadline`` and return False.

        Args:
            save: if given, called at a step's end, every ``save_every`` seconds and before stopping.
            deadline: as :func:`time.monotonic` counts.
            label: of the progress bar.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM came; what was done, be it all, is saved.
            FloatingPointError: the loss or a weight is no longer a number.
        """
        steady_allocator()
        save, kept = (save, "; what was done is saved") if save else ((lambda: None), "")
        done, total = (e * self.steps_an_epoch for e in (self.progress.epoch, self.epochs))
        shown = bar(total=total, initial=done + self.progress.step, desc=label, unit="step")
        with stop_request() as stop, shown:
            saved = started = time.monotonic()
            longest = 0.0
            while self.progress.epoch < self.epochs:
                before = time.monotonic()
                self._step()
                shown.update()
                now = time.monotonic()
                longest = max(longest, now - before)
                # the time that a step and a save can take is kept free before the deadline
                late = deadline is not None and now + 2 * longest + 5 > deadline
                if stop.is_set() or (late and self.progress.epoch < self.epochs):
                    save()
                    if stop.is_set():
                        raise KeyboardInterrupt(f"stopped after {now - started:.0f} s{kept}")
                    return False
                if now - saved > save_every:
                    save()
                    saved = time.monotonic()
        return True

    def _step(self) -> None:
        progress, device = self.progress, self.x.device
        began = time.perf_counter()
        if self._ordered != progress.epoch:
            self._start_epoch()
        index = self._order[progress.step]
        generator = generator_for(self.seed, progress.epoch, progress.step + 1, device=device)
        view = self.augment((len(index), *self.x.shape[1:]), generator)
        x_hat = view.forward(self.x.index_select(0, index))  # on the CPU three times as fast as x[index]
        loss = self.learner(x_hat, self.y[index], index, epoch=progress.epoch, view=view, generator=generator)
        self.loss_sum += loss * len(index)
        progress.step += 1
        progress.forward += self.learner.passes[0] * len(index)
        progress.backward += self.learner.passes[1] * len(index)
        progress.seconds += time.perf_counter() - began
        if progress.step == self.steps_an_epoch:
            self._end_epoch()

    def _start_epoch(self) -> None:
        """Order the images of the current epoch, a function of seed and epoch, and set its learning rate."""
        epoch = self.progress.epoch
        generator = generator_for(self.seed, epoch, 0, device=self.x.device)
        self._order, self._ordered = list(batches(len(self.x), self.batch_size, generator=generator)), epoch
        if self.rate is not None:
            for group in self.learner.optimizer.param_groups:
                group["lr"] = self.rate(epoch)

    def _end_epoch(self) -> None:
        progress = self.progress
        began = time.perf_counter()
        record = {"epoch": progress.epoch, "loss": float(self.loss_sum) / len(self.x)}  # waits for the device
        progress.seconds += time.perf_counter() - began
        lost = sum(int((~weight.isfinite()).sum()) for weight in self.learner.model.parameters())
        if lost or not math.isfinite(record["loss"]):
            found = f"the loss of epoch {progress.epoch} is {record['loss']}, {lost} weights after it are not finite"
            raise FloatingPointError(f"{found}: the run diverged")
        if self.monitor is not None:
            began = time.perf_counter()
            record |= self.monitor(self.learner.model)
            progress.monitor_seconds += time.perf_counter() - began
            progress.monitor_forward += self.monitor.passes[0]
            progress.monitor_backward += self.monitor.passes[1]
        progress.history.append(record)
        progress.epoch, progress.step = progress.epoch + 1, 0
        self.loss_sum.zero_()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that decides the rest of the run, by name."""
        found = {f"model.{name}": value for name, value in self.learner.model.state_dict().items()}
        found |= {f"learner.{name}": value for name, value in self.learner.state().items()}
        for i, state in self.learner.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{i}.{name}": value for name, value in state.items() if value is not None}
        # for a reader's model with dropout: ours draw nothing from the global generators
        found |= {"loss_sum": self.loss_sum, "rng.cpu": torch.get_rng_state()}
        if self.x.device.type == "cuda":
            found["rng.cuda"] = torch.cuda.get_rng_state(self.x.device)
        return found

    def load(self, tensors: dict[str, Tensor], progress: dict) -> None:
        """Go on from what :meth:`tensors` and ``asdict(progress)`` gave, on the same kind of device."""
        if ("rng.cuda" in tensors) != (self.x.device.type == "cuda"):  # their generators draw other numbers
            raise InputError(f"the checkpoint was made on another kind of device than {self.x.device}; go on there")
        learner = self.learner
        learner.model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
        for name, value in learner.state().items():
            value.copy_(tensors[f"learner.{name}"])
        parameters = [p for group in learner.optimizer.param_groups for p in group["params"]]
        optimizer = learner.optimizer.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".")
                # fused optimizers walk through memory: moments must lie in their parameter's own order
                same = value.shape == parameters[int(i)].shape
                kept = torch.empty_like(parameters[int(i)]).copy_(value) if same else value
                optimizer["state"].setdefault(int(i), {})[key] = kept
        learner.optimizer.load_state_dict(optimizer)
        self.loss_sum.copy_(tensors["loss_sum"])
        torch.set_rng_state(tensors["rng.cpu"].cpu())
        if self.x.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"].cpu(), self.x.device)
        self.progress = Progress(**progress)


def fit(
    model, x, y, *, adversary, optimizer, epochs, batch_size, seed, objective=None, precision="float32", monitor=None
) -> list[dict[str, float]]:
    r"""Train any model on any tensors against ``adversary``, in place (Eqs. 5-6, section 2.2).

    .. math:: \theta_{i+1} = \arg\min_\theta L(x + \delta_{i+1}, y, \theta), \quad
        \delta_{i+1} = \arg\max_{\delta \in \Delta} I[C(x + \delta | \theta_i) \ne y]

    Args:
        model: any classifier, ``(B, C, H, W)`` in [0, 1] to ``(B, k)`` logits.
        x, y: images ``(N, C, H, W)`` in [0, 1], float32 or float64, and labels ``(N,)``, int64.
        adversary: as in :mod:`simadv.adversaries`; one that carries examples carries those of this very ``x``.
        optimizer: of the model's parameters.
        epochs, batch_size: passes over ``x``, images a step.
        seed: of the order of the images and of random starts; dropout draws from torch's own generator.
        objective: default the mean of both cross-entropies.
        precision: ``float32`` or ``bf16``; on processors without AVX-512 that rounds conv2d and linear layers alone.
        monitor: called with the model after each epoch, as :class:`Monitor`, whose ``passes`` it must have.

    The model is left in train mode, and on glibc the process keeps the memory that it frees from now on.

    Returns:
        A list of one record an epoch with ``epoch``, ``loss`` and what the monitor saw.

    Raises:
        InputError: ``x`` and ``y`` are not images in [0, 1] with one label each, a number is out of range,
            ``precision`` is neither float32 nor bf16, ``adversary`` is none, carries other images, or makes first
            examples that are no images or have a graph, ``optimizer`` is another model's, or ``monitor`` has no
            ``passes``.
        FloatingPointError: the loss or a weight is no longer a number. KeyboardInterrupt: Ctrl-C came.

    Chapter: :doc:`02_background`.
    """
    images(x, y)
    one_of("precision", precision, PRECISIONS)
    own, made = getattr(adversary, "x", x), hasattr(adversary, "makes") and not isinstance(adversary, type)
    if not made or own.dtype != x.dtype or not torch.equal(own, x):
        raise InputError(f"adversary {type(adversary).__name__} must be an Adversary and carry this x: SIM(x, ...)")
    if not {p for group in optimizer.param_groups for p in group["params"]} & set(model.parameters()):
        raise InputError("optimizer holds no parameter of this model, which would stay as it is")
    if monitor is not None and not hasattr(monitor, "passes"):
        raise InputError(f"monitor {monitor!r} must have passes, a pair of forward and backward, as Monitor has")
    learner = Adversarial(model, optimizer, adversary, objective or CrossEntropy(), precision)
    learner.unseen = adversary.makes
    trainer = Trainer(learner, x, y, epochs=epochs, batch_size=batch_size, seed=seed, monitor=monitor)
    trainer.run()
    return trainer.progress.history
