r"""The measures: test accuracy under an attack (Eq. 17) and rho (Eq. 13).

Everything here is computed in the model's own precision, float32 for every model of the book. On a GPU torch lets
convolutions take TF32 for that until :func:`simadv.runs.pick_device` is called, as every command does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from simadv.attacks import Attack, predict
from simadv.checks import InputError, images, whole
from simadv.training import bar, generator_for, steady_allocator


@dataclass(frozen=True)
class Accuracy:
    """How many of ``images`` are classified correctly, under both conventions of what the attack leaves.

    Attributes:
        true: correct where the attack pushes away from the true label.
        predicted: correct where it pushes away from the model's own prediction on the clean image.
            Without an attack the two are the same.
    """

    images: int
    true: int
    predicted: int

    def percent(self, labels: str = "true") -> float:
        """Return the test accuracy in percent."""
        return 100 * getattr(self, labels) / self.images


def accuracy(
    model, x, y, attack: Attack | None = None, *, seed: int = 0, batch_size: int = 500, label="evaluating"
) -> Accuracy:
    r"""Return the test accuracy on clean images or under ``attack``, for both label conventions (Eq. 17, section 6.1).

    .. math:: \text{test accuracy} = \frac{\#\,\text{correctly classified inputs}}{\#\,\text{inputs}}

    The conventions differ only where the clean prediction is wrong already, so only those images are
    attacked twice.

    Args:
        x, y: images ``(N, C, H, W)`` in [0, 1], float32 or float64, and labels ``(N,)``, int64.
        attack: its ``labels`` are not used. What it leaves is no more than a bound: an image at which the loss has no
            gradient, or one that is NaN, does not move and counts as robust. ``simbook.doubts.doubts`` looks.
        seed: of the random starts, which are the same under both conventions.
        batch_size: images attacked at once; another one, other random starts.

    On glibc the process keeps the memory that it frees from then on.

    Raises:
        InputError: ``x`` are no images in [0, 1], ``y`` not one label an image, ``attack`` no attack, or a number is
            out of range.

    Chapter: :doc:`06_evaluation`.
    """
    images(x, y)
    batch_size, seed = whole("batch_size", batch_size, least=1), whole("seed", seed, least=0)
    if not isinstance(attack, Attack | None):
        raise InputError(f"attack = {attack!r} must be an Attack or None; Attack.parse reads 'BIM(10,40)'")
    steady_allocator()
    true = predicted = 0
    parts = list(zip(x.split(batch_size), y.split(batch_size), strict=True))
    for number, (x_hat, target) in enumerate(bar(parts, desc=label, unit="batch")):
        guess = predict(model, x_hat)
        wrong = guess != target
        kept = pushed = ~wrong
        if attack is not None:
            kept = pushed = _survive(model, x_hat, target, target, torch.ones_like(wrong), attack, seed, number)
            if wrong.any():  # elsewhere both conventions name the same label, and so make the same example
                pushed = torch.where(wrong, _survive(model, x_hat, target, guess, wrong, attack, seed, number), kept)
        true, predicted = true + int(kept.sum()), predicted + int(pushed.sum())
    return Accuracy(len(y), true, predicted)


def _survive(model, x_hat, y, away_from, which: Tensor, attack: Attack, seed: int, number: int) -> Tensor:
    """Return which of the images ``which`` are classified as ``y`` after an attack away from ``away_from``."""
    standing = which.clone()
    for restart in range(attack.restarts):
        if not standing.any():
            break
        # drawn for the whole batch, so that an image starts at the same point whoever else is attacked
        start = attack.start(x_hat, generator_for(seed, number, restart, device=x_hat.device))
        left = standing.clone()  # who has fallen stays fallen
        x_tilde = attack.climb(model, x_hat[left], away_from[left], start[left])
        standing[left] &= predict(model, x_tilde) == y[left]
    return standing


def rho(error: float, error_at_maximum: float) -> float:
    r"""Return how far an attack is saturated (Eq. 13, section 4.1).

    .. math:: \rho = \frac{\text{error rate under the current } n_1, n_2}
        {\text{error rate under the maximum } n_1, n_2}

    Raises:
        InputError: an error rate is outside [0, 1], or the one at the maximum is 0.

    Chapter: :doc:`04_1_saturation`.
    """
    if not (0 <= error <= 1 and 0 < error_at_maximum <= 1):
        raise InputError(f"error rates {error!r} and {error_at_maximum!r} must be in [0, 1], the second above 0")
    return error / error_at_maximum
