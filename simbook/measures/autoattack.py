"""AutoAttack's standard four (Croce and Hein, 2020), from a published library in an environment of its own."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from simadv.checks import InputError, whole
from simadv.data import Dataset
from simadv.specs import RunSpec
from simadv.store import Store
from simadv.training import bar
from simbook import workers
from simbook.measures.base import Measure
from simbook.measures.four import FOUR

BATCH = 250  # images that the attacks see at a time, as in the authors' own evaluation


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Measure):
    """Accuracy under APGD-CE, APGD-T, FAB-T and Square in turn, at the run's epsilon and in float32.

    The examples are the library's, whether one counts is judged by us (:mod:`simbook.measures.four`).

    Args:
        images: the first so many of the test set.
        steps: of each attack that follows gradients; the authors' standard is 100.
        queries: of Square, which follows none; the standard is 5,000.
    """

    images: int
    steps: int = 100
    queries: int = 5000

    def __post_init__(self) -> None:
        for name in ("images", "steps", "queries"):
            whole(name, getattr(self, name), least=1)

    @property
    def attack(self) -> str:
        """What tables call it."""
        return "AutoAttack"

    def obstacle(self, store: Store) -> str | None:
        """Return that the library's environment is missing, where it is."""
        return missing()

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return how many images are right when ``clean`` and still after each attack; ``true`` is after the last.

        ``outside`` counts examples that left the ball or the range of pixels, which fool nobody; ``library`` is the
        version that made them.

        Raises:
            InputError: the library's environment is not there.
            WorkerError: the library failed.
        """
        if reason := missing():
            raise InputError(f"AutoAttack: {reason}")
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        about = {"model": spec.model, "epsilon": spec.epsilon, "steps": self.steps, "queries": self.queries}
        about |= {"device": str(x.device), "threads": torch.get_num_threads()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.pt"
            torch.save({"weights": model.state_dict(), "x": x.cpu(), "y": y.cpu(), "about": json.dumps(about)}, path)
            return counted(path, len(x), label=f"{spec.id} under AutoAttack")


def missing() -> str | None:
    """Return what to do for the library's environment, or None where it is."""
    return None if workers.INSTALLED.exists() else "it needs the environment .venv-bench; make peers sets it up"


def counted(path: Path, images: int, *, label: str) -> dict:
    """Return the sums of what a worker answers about the net and the images in ``path``, batch by batch."""
    command = [str(workers.PEER_PYTHON), "-m", "simbook.measures.four", str(path)]
    left, outside = dict.fromkeys(("clean", *FOUR), 0), 0
    with workers.Worker("AutoAttack", command, gpu=True) as worker:
        library = worker.read()["library"]
        steps = [(name, start) for start in range(0, images, BATCH) for name in left]
        for name, start in bar(steps, desc=label, unit="attack", leave=False):
            answer = worker.ask(f"{name} {start} {start + BATCH}")
            left[name] += answer["right"]
            outside += answer["outside"]
    return {"images": images, "true": left[FOUR[-1]], "left": left, "outside": outside, "library": library}
