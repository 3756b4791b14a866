r"""How a net sees a class and its adversarial examples: t-SNE of the penultimate layer, and numbers beside it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from simadv.attacks import Attack, predict
from simadv.checks import InputError, whole
from simadv.data import Dataset
from simadv.specs import CLASSES, RunSpec
from simadv.training import generator_for
from simbook.measures.base import Measure

NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Embedding(Measure):
    """The features of references, of targets, and of the targets' adversarial examples: section 3.2, Figs. 1 and 9.

    Args:
        attack: in the paper's notation, ``BIM(30,30)``.
        target: the class of the targets; the paper draws one, and so did we, once.
        references, targets: the first so many test images of the other classes, and of the target's.
        seed: of the random starts and of t-SNE.
    """

    attack: str
    target: int = 6
    references: int = 800
    targets: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        Attack.parse(self.attack, epsilon=1.0)
        if whole("target", self.target, least=0) >= CLASSES:
            raise InputError(f"target = {self.target!r} is no class; allowed: 0 to {CLASSES - 1}")
        for name in ("references", "targets"):
            whole(name, getattr(self, name), least=NEIGHBOURS)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return the points of t-SNE (``x``, ``y``: references, targets, examples, in this order) and the numbers.

        ``fooled``: of the examples, how many are misclassified. ``separable``: cross-validated accuracy (%) with which
        a linear classifier tells examples from targets by their features; 50 is a guess. ``at_home``: of the
        examples, the share (%) most of whose nearest clean images are targets.
        """
        of_target = dataset.y_test == self.target
        references = dataset.x_test[~of_target][: self.references]
        targets = dataset.x_test[of_target][: self.targets]
        labels = torch.full((len(targets),), self.target, device=targets.device)
        attack = Attack.parse(self.attack, epsilon=spec.epsilon)
        examples = attack(model, targets, labels, generator=generator_for(self.seed, device=targets.device))
        parts = [features(model, images) for images in (references, targets, examples)]
        points = project(np.concatenate(parts), seed=self.seed)
        return {
            "counts": [len(part) for part in parts],
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "fooled": int((predict(model, examples) != labels).sum()),
            "separable": separability(parts[1], parts[2], seed=self.seed),
            "at_home": at_home(*parts),
        }


@torch.no_grad()
def features(model: nn.Module, x: Tensor) -> np.ndarray:
    """Return the penultimate layer of images, ``(N, width)``."""
    return model.features(x).float().cpu().numpy()


def project(values: np.ndarray, *, seed: int) -> np.ndarray:
    """Return t-SNE's points of the rows of ``values``, ``(N, 2)``, to two decimals."""
    from sklearn.manifold import TSNE  # slow to import, and needed only here

    return TSNE(init="pca", random_state=seed).fit_transform(values).astype(float).round(2)


def separability(targets: np.ndarray, examples: np.ndarray, *, seed: int) -> float:
    """Return how well (%) a linear classifier tells examples from targets it was not fitted to; 50 is a guess.

    An example and the image that it was made of are always in the same fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = np.repeat([0, 1], [len(targets), len(examples)])
    image = np.concatenate([np.arange(len(targets)), np.arange(len(examples))])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = GroupKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_score(classifier, np.concatenate([targets, examples]), kind, groups=image, cv=folds)
    return 100 * float(scores.mean())


def at_home(references: np.ndarray, targets: np.ndarray, examples: np.ndarray) -> float:
    """Return the share (%) of the examples most of whose nearest clean images are targets.

    The image that an example was made of does not count as its neighbour.
    """
    from sklearn.neighbors import NearestNeighbors

    clean = np.concatenate([references, targets])
    is_target = np.arange(len(clean)) >= len(references)
    _, nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(clean).kneighbors(examples)
    own = len(references) + np.arange(len(examples))[:, None]
    hits = (is_target[nearest] & (nearest != own)).sum(1)
    return 100 * float((hits > NEIGHBOURS / 2).mean())
