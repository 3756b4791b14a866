r"""How a net sees a class and its adversarial examples: t-SNE of the penultimate layer, and numbers beside it."""

from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
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
        seed: of the random starts, of the folds and of what t-SNE draws.
    """

    attack: str
    target: int = 6
    references: int = 800
    targets: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        # one spelling, one id
        object.__setattr__(self, "attack", str(Attack.parse(self.attack, epsilon=1.0)))
        if whole("target", self.target, least=0) >= CLASSES:
            raise InputError(f"target = {self.target!r} is no class; allowed: 0 to {CLASSES - 1}")
        for name in ("references", "targets"):
            whole(name, getattr(self, name), least=NEIGHBOURS)
        whole("seed", self.seed, least=0)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return the points of t-SNE (``x``, ``y``: references, targets, examples, in this order) and the numbers.

        ``counts``: of the three kinds. ``classes``: true, of the references. ``missed``, ``fooled``: how many targets,
        and how many examples, are misclassified. The rest are shares in percent. ``separable``, see
        :func:`separability`; ``mixed``, see :func:`mixed`; ``at_home`` of the examples and ``targets_at_home``, what
        it is before the attack, see :func:`at_home`.
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
            "classes": dataset.y_test[~of_target][: self.references].tolist(),
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "missed": int((predict(model, targets) != labels).sum()),
            "fooled": int((predict(model, examples) != labels).sum()),
            "separable": separability(parts[1], parts[2], seed=self.seed),
            "mixed": mixed(parts[1], parts[2]),
            "at_home": at_home(*parts),
            "targets_at_home": at_home(parts[0], parts[1], parts[1]),
        }


@torch.no_grad()
def features(model: nn.Module, x: Tensor) -> np.ndarray:
    """Return the penultimate layer of images, ``(N, width)``."""
    return model.features(x).float().cpu().numpy()


def project(values: np.ndarray, *, seed: int) -> np.ndarray:
    """Return t-SNE's points of the rows of ``values``, ``(N, 2)``, to two decimals."""
    from sklearn.manifold import TSNE  # slow to import, and needed only here

    # sums in another order, as another number of threads makes them, end in another picture
    with threadpool_limits(1):
        return TSNE(init="pca", random_state=seed).fit_transform(values).astype(float).round(2)


def separability(targets: np.ndarray, examples: np.ndarray, *, seed: int) -> float:
    """Return how well (%) a linear classifier tells examples from targets it was not fitted to; 50 is a guess.

    An example and the image that it was made of are always in the same fold: where the attack moves nothing the
    answer is 50, not less.
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
    return round(100 * float(scores.mean()), 2)


def mixed(targets: np.ndarray, examples: np.ndarray) -> float:
    """Return the mean share (%) of targets among an example's nearest targets and examples; 50 is a perfect blend."""
    return round(100 * float(mixed_each(targets, examples).mean()), 2)


def mixed_each(targets: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Return the share of targets among the nearest targets and examples of each example, ``(N,)``, in [0, 1].

    Neither the example itself nor the image that it was made of is counted.
    """
    count = len(targets)
    own = np.stack([np.arange(count), count + np.arange(count)], 1)
    neighbours = nearest(np.concatenate([targets, examples]), examples, own)
    return (neighbours < count).mean(1)


def at_home(references: np.ndarray, targets: np.ndarray, examples: np.ndarray) -> float:
    """Return the share (%) of the examples most of whose nearest clean images are targets.

    The image that an example was made of is not counted.
    """
    own = len(references) + np.arange(len(examples))[:, None]
    neighbours = nearest(np.concatenate([references, targets]), examples, own)
    return round(100 * float(((neighbours >= len(references)).sum(1) > NEIGHBOURS / 2).mean()), 2)


def nearest(rows: np.ndarray, queries: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return the indices of the rows nearest to each query, without those in its row of ``own``; nearest first."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=NEIGHBOURS + own.shape[1]).fit(rows).kneighbors(queries)[1]
    excluded = (found[:, :, None] == own[:, None, :]).any(2)
    # a stable sort moves what is excluded to the end and keeps the order of the rest
    first = np.argsort(excluded, axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.take_along_axis(found, first, 1)
