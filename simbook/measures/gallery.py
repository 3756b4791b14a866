r"""Real images under attack, pixel by pixel, and what a longer attack does to loss and distance: section 2.1."""

import base64
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simadv.attacks import PROJECTIONS, Attack, cross_entropy, predict, trajectory
from simadv.checks import whole
from simadv.data import Dataset
from simadv.specs import CLASSES, RunSpec
from simadv.training import generator_for
from simbook.measures.base import Measure

ATTACKS = ("FGSM", "R+FGSM", "BIM(10,40)", "Madry(10,40)")


@dataclass(frozen=True, kw_only=True)
class Gallery(Measure):
    """A few test images, one a class, with their examples under each attack.

    Args:
        images: how many; the first of each class 0, 1, ... that the model classifies correctly.
        seed: of the random starts.
    """

    images: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        whole("images", self.images, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``pixels`` (base64 of bytes: row, image, C, H, W; row 0 is clean), ``shape``, classes and confidence.

        ``predicted`` and ``confidence`` (%) have a list for each row.
        """
        x, y = dataset.x_test, dataset.y_test
        right = predict(model, x) == y
        chosen = torch.stack([(right & (y == label)).nonzero()[0, 0] for label in range(min(self.images, CLASSES))])
        rows = [x[chosen]]
        for number, name in enumerate(ATTACKS):
            attack = Attack.parse(name, epsilon=spec.epsilon)
            generator = generator_for(self.seed, number, device=x.device)
            rows.append(attack(model, rows[0], y[chosen], generator=generator))
        said = [self._said(model, row) for row in rows]
        stack = (torch.stack(rows) * 255).round().to(torch.uint8).cpu()
        return {
            "rows": ["Original", *ATTACKS],
            "shape": list(stack.shape),
            "pixels": base64.b64encode(stack.numpy().tobytes()).decode(),
            "index": chosen.tolist(),
            "label": y[chosen].tolist(),
            "predicted": [labels for labels, _ in said],
            "confidence": [shares for _, shares in said],
        }

    @staticmethod
    @torch.no_grad()
    def _said(model: nn.Module, x: Tensor) -> tuple[list[int], list[float]]:
        share, label = model(x).softmax(1).max(1)
        return label.tolist(), [round(100 * float(value), 1) for value in share]


@dataclass(frozen=True, kw_only=True)
class Climb(Measure):
    """Loss, errors and distance after each step of one attack, projected onto the ball and as Eq. 3 is printed.

    Args:
        attack: in the paper's notation, with n2 > n1, so that the two differ.
        images: the first so many of the test set.
    """

    attack: str = "BIM(10,40)"
    images: int = 1000

    def __post_init__(self) -> None:
        Attack.parse(self.attack, epsilon=1.0)
        whole("images", self.images, least=1)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``images`` and for ``ball`` and ``literal`` lists over steps 0 to n2.

        ``loss``: mean cross-entropy; ``wrong``: how many are misclassified; ``distance``: mean over images of
        the largest change of a pixel.
        """
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        attack = Attack.parse(self.attack, epsilon=spec.epsilon)
        found: dict = {"images": len(y)}
        for projection in PROJECTIONS:
            steps = trajectory(model, x, y, epsilon=attack.epsilon, n1=attack.n1, n2=attack.n2, projection=projection)
            found[projection] = {"loss": [], "wrong": [], "distance": []}
            for x_i in steps:
                with torch.no_grad():
                    found[projection]["loss"].append(float(cross_entropy(model(x_i), y)))
                found[projection]["wrong"].append(int((predict(model, x_i) != y).sum()))
                found[projection]["distance"].append(float((x_i - x).abs().flatten(1).amax(1).mean()))
        return found
