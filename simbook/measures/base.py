r"""What all measures are: a frozen spec with an id, and the work that it stands for."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

from torch import nn

from simadv import runs
from simadv.data import Dataset
from simadv.specs import EvalSpec, RunSpec, short_hash
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
    """Return a stored measure of a run; else make it and store it."""
    if isinstance(measure, EvalSpec):
        return runs.evaluate(run, measure, store=store, device=device)

    def work(model: nn.Module, dataset: Dataset) -> dict:
        return measure.work(run.spec, model, dataset)

    return runs.measure(run, measure, work, store=store, device=device)
