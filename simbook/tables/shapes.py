r"""The shape of a curve as numbers: where it saturates, where it turns, and whether it grows exponentially.

Every function takes values at 0, 1, 2, ... along the last axis, so that all resamples of a bootstrap go in one call.
"""

from typing import NamedTuple

import numpy as np

WINDOW = 3  # steps on either side of a turning point: a single one would follow the noise of a few images
KNOT = 0.1  # a broken line's knot is looked for in steps of this
FACTORS = np.exp(np.arange(0.0, 3.0, 0.0025))  # growth per step that is tried


def explained(values: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    """Return the sum of squares of ``values`` that a least-squares fit by ``columns`` explains."""
    basis, _ = np.linalg.qr(np.stack(columns, axis=1))
    return ((values @ basis) ** 2).sum(-1)


def saturated_from(values: np.ndarray, *, at: float, within: float) -> np.ndarray:
    """Return the first step from which on every value is within ``within`` of ``at``.

    It is the number of steps where even the last value is not, NaNs among them.
    """
    near = np.abs(values - at) <= within + 1e-12
    staying = np.logical_and.accumulate(near[..., ::-1], axis=-1)[..., ::-1]
    return np.where(staying[..., -1], staying.argmax(-1), values.shape[-1])


def turning_point(values: np.ndarray) -> np.ndarray:
    """Return the step at which growth drops most: where the next three steps gain least against the last three.

    No form of the curve is assumed before or after it. It is none of the first and last three.
    """
    gains = values[..., WINDOW:] - values[..., :-WINDOW]
    return WINDOW + np.argmin(gains[..., WINDOW:] - gains[..., :-WINDOW], axis=-1)


def broken_line(values: np.ndarray) -> np.ndarray:
    """Return where two straight lines that meet fit best: the knot of the least-squares broken line.

    Where the curve is bent before or after its turning point, as an exponential is, the knot misses that point.
    """
    x = np.arange(values.shape[-1], dtype=float)
    knots = np.arange(1, x[-1] - 1 + KNOT / 2, KNOT)
    fits = [explained(values, [np.ones_like(x), x, np.maximum(x - knot, 0)]) for knot in knots]
    return knots[np.argmax(np.stack(fits), axis=0)]


class Growth(NamedTuple):
    """Two fits of two parameters to the same values.

    Attributes:
        linear, exponential: root mean square residuals, in units of the values.
        factor: growth per step of the best exponential.
    """

    linear: np.ndarray
    exponential: np.ndarray
    factor: np.ndarray


def growth(values: np.ndarray) -> Growth:
    r"""Fit :math:`a + b i` and :math:`a g^i` with :math:`g \ge 1`, both by least squares on the values themselves."""
    x = np.arange(values.shape[-1], dtype=float)
    total = (values**2).sum(-1)
    fits = np.stack([explained(values, [factor**x]) for factor in FACTORS])
    left = total - explained(values, [np.ones_like(x), x]), total - fits.max(0)
    linear, exponential = (np.sqrt(np.maximum(rest, 0) / len(x)) for rest in left)
    return Growth(linear, exponential, FACTORS[fits.argmax(0)])
