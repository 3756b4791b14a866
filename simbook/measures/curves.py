r"""Which images are misclassified along an attack's settings: the curves of Figs. 3 and 4, and their rho (Eq. 13)."""

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simadv.attacks import Attack, predict, trajectory
from simadv.checks import whole
from simadv.data import Dataset
from simadv.specs import RunSpec
from simadv.training import bar
from simbook.measures.base import Measure

BATCH = 500
# section 4.2's n1, and half and double of it: a turning point that sits at n1 must move with it
SCALES = (1, 0.5, 2)


def patterns(wrong: Tensor) -> dict[str, int]:
    """Return how many images have each history, ``0`` right and ``1`` wrong, a digit for each setting in turn.

    That is all that a bootstrap over images needs, in a fraction of the space of the images themselves.

    Args:
        wrong: booleans, ``(settings, images)``.
    """
    return dict(sorted(Counter("".join("01"[w] for w in image) for image in wrong.T.tolist()).items()))


@dataclass(frozen=True, kw_only=True)
class Saturation(Measure):
    """Who is misclassified under BIM(n, n) for each n: section 4.1, Fig. 3.

    Args:
        greatest: n runs from 1 to this.
        images: the first so many of the test set; None: all.
    """

    greatest: int = 30
    images: int | None = None

    def __post_init__(self) -> None:
        whole("greatest", self.greatest, least=1)
        if self.images is not None:
            whole("images", self.images, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``n`` from 0 (clean images) on, how many are ``wrong`` at each, and their :func:`patterns`."""
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        wrong = [predict(model, x) != y]
        for n in bar(range(1, self.greatest + 1), desc=f"{spec.id} under BIM(n,n)", unit="n"):
            attack = Attack(kind="BIM", epsilon=spec.epsilon, n1=n, n2=n)
            parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
            wrong.append(torch.cat([predict(model, attack(model, *part)) != part[1] for part in parts]))
        table = torch.stack(wrong).cpu()
        counts = {"wrong": table.sum(1).tolist(), "patterns": patterns(table)}
        return {"images": len(y), "n": list(range(self.greatest + 1))} | counts


@dataclass(frozen=True, kw_only=True)
class Intermediate(Measure):
    """Who is misclassified after each step inside one attack: section 4.2, Fig. 4.

    Args:
        attack: in the paper's notation, ``BIM(10,30)``; it is run with half and double of its n1 as well.
        images: the first so many of the test set; None: all.
    """

    attack: str
    images: int | None = None

    def __post_init__(self) -> None:
        Attack.parse(self.attack, epsilon=1.0)
        if self.images is not None:
            whole("images", self.images, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``i`` from 0 (clean images) to n2, and for each n1 of :data:`SCALES` one of the ``curves``.

        A curve has ``n1``, how many are ``wrong`` after each step, their :func:`patterns`, and ``moved``: how far
        a pixel is from where it was, as a share of epsilon, its mean over all pixels and images.
        """
        asked = Attack.parse(self.attack, epsilon=spec.epsilon)
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        curves = []
        for scale in bar(SCALES, desc=f"{spec.id} inside {asked}", unit="n1"):
            wrong, moved = along(model, x, y, replace(asked, n1=asked.n1 * scale))
            counts = {"wrong": wrong.sum(1).tolist(), "patterns": patterns(wrong)}
            curves.append({"n1": float(asked.n1 * scale)} | counts | {"moved": moved})
        return {"images": len(y), "i": list(range(asked.n2 + 1)), "curves": curves}


def along(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> tuple[Tensor, list[float]]:
    """Return who is misclassified after 0, 1, ..., n2 steps, ``(n2 + 1, images)``, and how far pixels have moved."""
    wrong, moved = [], []
    for x_hat, target in zip(x.split(BATCH), y.split(BATCH), strict=True):
        steps = trajectory(model, x_hat, target, epsilon=attack.epsilon, n1=attack.n1, n2=attack.n2)
        seen = [(predict(model, x_i) != target, (x_i - x_hat).abs().flatten(1).mean(1)) for x_i in steps]
        wrong.append(torch.stack([of_step for of_step, _ in seen]))
        moved.append(torch.stack([of_step for _, of_step in seen]))
    means = torch.cat(moved, 1).double().mean(1) / attack.epsilon
    return torch.cat(wrong, 1).cpu(), [round(value, 6) for value in means.tolist()]
