r"""Real images under attack, pixel by pixel, and what attacks do to loss, errors and distance: section 2.1."""

import base64
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simadv.attacks import PROJECTIONS, Attack, cross_entropy, trajectory, untouched
from simadv.checks import InputError, whole
from simadv.data import Dataset
from simadv.specs import CLASSES, RunSpec
from simadv.training import bar, generator_for
from simbook.measures.base import Measure
from simbook.measures.curves import BATCH, patterns

ATTACKS = ("FGSM", "R+FGSM", "BIM(10,40)", "Madry(10,40)")
LITERAL = "BIM(10,40) as printed"
SHARES = (0.125, 0.25, 0.5, 1.0)
# rounding moves a pixel of [0, 1] by less: an image beyond epsilon by more has left the ball
ROUNDING = 1e-6


@torch.no_grad()
def scores(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of images in eval mode, ``(N, classes)``."""
    with untouched(model, "eval"):
        return torch.cat([model(part) for part in x.split(BATCH)])


@dataclass(frozen=True, kw_only=True)
class Gallery(Measure):
    """A few test images, one a class, with their examples under each attack, and under BIM as Eq. 3 is printed.

    Args:
        images: how many; the first of each class 0, 1, ... that the model classifies correctly.
        seed: of the random starts.
    """

    images: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if whole("images", self.images, least=1) > CLASSES:
            raise InputError(f"images = {self.images} is more than one a class; allowed: 1 to {CLASSES}")
        whole("seed", self.seed, least=0)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``pixels`` (base64 of bytes: row, image, C, H, W; row 0 is clean), ``shape``, classes and confidence.

        ``predicted``, ``confidence`` (%) and ``distance`` (the largest change of a pixel, in units of epsilon) have a
        list for each row. A class of which the model gets no image right is passed over: there may be fewer images.
        """
        x, y = dataset.x_test, dataset.y_test
        right = scores(model, x).argmax(1) == y
        firsts = [(right & (y == label)).nonzero().flatten()[:1] for label in range(CLASSES)]
        chosen = torch.cat(firsts)[: self.images]
        rows = [x[chosen]]
        for number, name in enumerate((*ATTACKS, LITERAL)):
            attack = Attack.parse(name.removesuffix(" as printed"), epsilon=spec.epsilon)
            generator = generator_for(self.seed, number, device=x.device)
            attack = replace(attack, projection="literal" if name == LITERAL else "ball")
            rows.append(attack(model, rows[0], y[chosen], generator=generator))
        tops = [scores(model, row).softmax(1).max(1) for row in rows]
        stack = (torch.stack(rows) * 255).round().to(torch.uint8).cpu()
        return {
            "rows": ["Original", *ATTACKS, LITERAL],
            "shape": list(stack.shape),
            "pixels": base64.b64encode(stack.numpy().tobytes()).decode(),
            "index": chosen.tolist(),
            "label": y[chosen].tolist(),
            "predicted": [label.tolist() for _, label in tops],
            "confidence": [numbers(100 * share, 1) for share, _ in tops],
            "distance": [numbers(distances(row, rows[0]) / spec.epsilon, 4) for row in rows],
        }


@dataclass(frozen=True, kw_only=True)
class Climb(Measure):
    """What attacks do to a net: one of them step by step, and each of the four at shares of epsilon.

    Args:
        attack: the one that is followed, projected onto the ball and as Eq. 3 is printed: a BIM with n2 > n1, so that
            the two differ.
        images: the first so many of the test set.
        seed: of the random starts.
    """

    attack: str = "BIM(10,40)"
    images: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        asked = Attack.parse(self.attack, epsilon=1.0)
        if asked.kind != "BIM" or asked.n2 <= asked.n1:
            raise InputError(f"attack = {self.attack!r} must be a BIM with n2 > n1, as BIM(10,40)")
        # one spelling, one id
        object.__setattr__(self, "attack", str(asked))
        whole("images", self.images, least=1)
        whole("seed", self.seed, least=0)

    def work(self, spec: RunSpec, model: nn.Module, dataset: Dataset) -> dict:
        """Return ``images``; for ``ball`` and ``literal`` what :func:`along` says; and the four attacks' strength.

        ``patterns`` has for each of ``shares`` (of epsilon) how many images have each history over ``attacks``
        (see :func:`simbook.measures.curves.patterns`), ``losses`` their mean cross-entropies, a list a share.
        """
        x, y = dataset.x_test[: self.images], dataset.y_test[: self.images]
        asked = Attack.parse(self.attack, epsilon=spec.epsilon)
        found: dict = {"images": len(y)}
        for projection in PROJECTIONS:
            found[projection] = along(model, x, y, replace(asked, projection=projection))
        found |= {"attacks": ["Original", *ATTACKS], "shares": list(SHARES), "patterns": [], "losses": []}
        for share in bar(SHARES, desc=f"{spec.id} at shares of epsilon", unit="share"):
            loss, wrong = under_each(model, x, y, epsilon=share * spec.epsilon, seed=self.seed)
            found["patterns"].append(patterns(wrong))
            found["losses"].append(numbers(loss.mean(1), 6))
        return found


def distances(x_tilde: Tensor, x_hat: Tensor) -> Tensor:
    r"""Return the :math:`l_\infty` distance of each image from its original, ``(N,)``."""
    return (x_tilde - x_hat).abs().flatten(1).amax(1)


def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each image (float64), and whether it is misclassified."""
    logits = scores(model, x)
    return cross_entropy(logits, y, "none").double(), logits.argmax(1) != y


def numbers(values: Tensor, digits: int) -> list[float]:
    """Return ``values`` as rounded plain numbers."""
    return [round(value, digits) for value in values.double().tolist()]


def along(model: nn.Module, x: Tensor, y: Tensor, attack: Attack) -> dict[str, list]:
    """Return a number for each of the steps 0, 1, ..., n2 of ``attack``.

    ``loss``: mean cross-entropy, between its quartiles ``loss_low`` and ``loss_high``. ``wrong``: how many images are
    misclassified. ``distance``, ``farthest``: of an image from its original, the mean and the greatest, in units of
    epsilon. ``outside``: how many images are farther than epsilon.
    """
    kept: dict[str, list[Tensor]] = {"loss": [], "wrong": [], "distance": []}
    settings = {"epsilon": attack.epsilon, "n1": attack.n1, "n2": attack.n2, "projection": attack.projection}
    for x_hat, target in zip(x.split(BATCH), y.split(BATCH), strict=True):
        of_batch: dict[str, list[Tensor]] = {name: [] for name in kept}
        for x_i in trajectory(model, x_hat, target, **settings):
            parts = (*judged(model, x_i, target), distances(x_i, x_hat))
            for name, values in zip(kept, parts, strict=True):
                of_batch[name].append(values)
        for name, values in of_batch.items():
            kept[name].append(torch.stack(values))
    loss, wrong, distance = (torch.cat(kept[name], 1) for name in kept)
    low, high = loss.quantile(torch.tensor([0.25, 0.75], dtype=loss.dtype, device=loss.device), dim=1)
    return {
        "loss": numbers(loss.mean(1), 6),
        "loss_low": numbers(low, 6),
        "loss_high": numbers(high, 6),
        "wrong": wrong.sum(1).tolist(),
        "distance": numbers(distance.double().mean(1) / attack.epsilon, 6),
        "farthest": numbers(distance.amax(1) / attack.epsilon, 6),
        "outside": (distance > attack.epsilon + ROUNDING).sum(1).tolist(),
    }


def under_each(model: nn.Module, x: Tensor, y: Tensor, *, epsilon: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return loss and whether misclassified of each image, clean and under each of :data:`ATTACKS`, ``(5, N)``."""
    losses, wrong = [], []
    for number, (x_hat, target) in enumerate(zip(x.split(BATCH), y.split(BATCH), strict=True)):
        examples = [x_hat]
        for name in ATTACKS:
            generator = generator_for(seed, number, device=x.device)
            examples.append(Attack.parse(name, epsilon=epsilon)(model, x_hat, target, generator=generator))
        seen = [judged(model, x_tilde, target) for x_tilde in examples]
        losses.append(torch.stack([loss for loss, _ in seen]))
        wrong.append(torch.stack([is_wrong for _, is_wrong in seen]))
    return torch.cat(losses, 1), torch.cat(wrong, 1)
