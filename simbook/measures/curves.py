r"""Error rates along an attack's settings: the curves behind Figs. 3 and 4, from which rho (Eq. 13) follows."""

from dataclasses import dataclass

from torch import nn
from tqdm import tqdm

from simadv.attacks import Attack, predict, trajectory
from simadv.checks import whole
from simadv.data import Dataset
from simadv.specs import RunSpec
from simbook.measures.base import Measure

BATCH = 500


def wrong_along(model: nn.Module, dataset: Dataset, attack: Attack, images: int | None) -> list[int]:
    """Return how many of the test images are misclassified after 0, 1, ..., n2 steps of ``attack``."""
    x, y = dataset.x_test[:images], dataset.y_test[:images]
    wrong = [0] * (attack.n2 + 1)
    for x_hat, target in zip(x.split(BATCH), y.split(BATCH), strict=True):
        steps = trajectory(model, x_hat, target, epsilon=attack.epsilon, n1=attack.n1, n2=attack.n2)
        for i, x_i in enumerate(steps):
            wrong[i] += int((predict(model, x_i) != target).sum())
    return wrong


@dataclass(frozen=True, kw_only=True)
class Saturation(Measure):
    """Errors under BIM(n, n) for each n: section 4.1, Fig. 3.

    Args:
        greatest: n runs from 1 to this.
        images: the first so many of the test set; None: all.
    """

    greatest: int = 30
    images: int | None = None

    def __post_init__(self) -> None:
        whole("greatest", self.greatest, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``n`` from 0 (clean images) on, ``wrong`` counts, and ``images``."""
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        wrong = [int((predict(model, x) != y).sum())]
        for n in tqdm(range(1, self.greatest + 1), desc=f"{spec.id} under BIM(n,n)", unit="n", disable=None):
            attack = Attack(kind="BIM", epsilon=spec.epsilon, n1=n, n2=n)
            parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
            wrong.append(sum(int((predict(model, attack(model, *part)) != part[1]).sum()) for part in parts))
        return {"n": list(range(self.greatest + 1)), "wrong": wrong, "images": len(y)}


@dataclass(frozen=True, kw_only=True)
class Intermediate(Measure):
    """Errors after each step inside one attack: section 4.2, Fig. 4.

    Args:
        attack: in the paper's notation, ``BIM(10,30)``.
        images: the first so many of the test set; None: all.
    """

    attack: str
    images: int | None = None

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``i`` from 0 (clean images) to n2, ``wrong`` counts, and ``images``."""
        attack = Attack.parse(self.attack, epsilon=spec.epsilon)
        wrong = wrong_along(model, dataset, attack, self.images)
        return {"i": list(range(len(wrong))), "wrong": wrong, "images": len(dataset.y_test[: self.images])}
