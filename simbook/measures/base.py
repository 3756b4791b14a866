r"""What all measures are, a frozen spec with an id and the work that it stands for, and how each is taken once."""

import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

from torch import nn

from simadv.checks import InputError
from simadv.data import Dataset
from simadv.evaluation import accuracy
from simadv.runs import load_data, pick_device, provenance
from simadv.specs import TEST_IMAGES, EvalSpec, RunSpec, short_hash
from simadv.store import Run, Store


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """Something that is measured of a trained model on its test set.

    Args:
        semantics: raised by a subclass when the same measure would give other numbers.
    """

    semantics: int = 1

    @property
    def id(self) -> str:
        """A readable name that ends in a hash of every field."""
        name = type(self).__name__.lower()
        return f"{name}-{short_hash({'kind': name} | asdict(self))}"

    def obstacle(self, store: Store) -> str | None:
        """Return what must be there first, or None: most measures need the run alone."""
        return None

    @abstractmethod
    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return what was measured, as plain numbers and lists that JSON holds."""


def take(run: Run, measure: Measure | EvalSpec, *, store: Store, device: str = "auto") -> dict:
    """Return what is stored of a measure of a run; else do its work and store it with its seconds and provenance.

    Raises:
        InputError: the test set has fewer images, or the device, the weights or the data are not there; before any
            work.
    """
    if isinstance(measure, EvalSpec) and (measure.images or 0) > (most := TEST_IMAGES[run.spec.dataset]):
        raise InputError(f"images = {measure.images}: the test set of {run.spec.dataset} has {most}")
    if (found := store.evaluation(run, measure)) is not None:
        return found
    target = pick_device(device)
    model, dataset = store.model(run, device=target), load_data(run.spec.dataset, target)
    store.writable(run.spec)  # before the work, not after it
    began = time.perf_counter()
    work = accuracy_under if isinstance(measure, EvalSpec) else type(measure).work
    result = work(measure, run.spec, model, dataset)
    about = {"seconds": time.perf_counter() - began, "provenance": provenance(target, alone=False)}
    return store.add_evaluation(run, measure, result | about)


def accuracy_under(measure: EvalSpec, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
    """Return how many of ``images`` a model gets right under an attack, ``true`` and ``predicted`` (Eq. 17)."""
    x, y = (part[: measure.images] for part in (dataset.x_test, dataset.y_test))
    label = f"{spec.id} under {measure.attack}"
    return asdict(accuracy(model, x, y, measure.attack_on(spec), seed=measure.seed, label=label))
