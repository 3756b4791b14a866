"""Checks of what comes in: one clear line that says what was wrong and what is allowed."""

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from operator import index

import torch


class InputError(ValueError):
    """Something that a user gave is wrong; the message says what, and what is allowed."""


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        InputError: it is not; the message lists what is allowed (the first of very many) and the nearest guess.
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    listed = ", ".join(allowed[:40]) + f", ... ({len(allowed)} in all)" * (len(allowed) > 40)
    raise InputError(f"{name} = {value!r} is not known{guess(value, allowed)}; allowed: {listed}")


def guess(value: object, allowed: list[str]) -> str:
    """Return what was probably meant, to stand in a message; nothing where nothing is near."""
    near = difflib.get_close_matches(str(value), allowed, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def number(name: str, value: object, *, above=-math.inf, least=-math.inf, most=math.inf) -> float:
    """Return ``value`` if it is a number (never a bool or a string) in range.

    Raises:
        InputError: it is no number, is not finite, is not above ``above``, is below ``least``, or is over ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) < math.inf:
        raise InputError(f"{name} = {value!r} must be a finite number")
    met = {f"above {above:g}": value > above, f"at least {least:g}": value >= least, f"at most {most:g}": value <= most}
    if not all(met.values()):
        raise InputError(f"{name} = {value!r} must be {next(bound for bound, so in met.items() if not so)}")
    return value


def whole(name: str, value: object, *, least: int) -> int:
    """Return ``value`` as an int if it is a whole number of at least ``least``.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} = {value!r} must be a whole number of at least {least}")
    return index(number(name, value, least=least, most=2**63 - 1))


def images(x: object, *labels: object, name: str = "x") -> None:
    """Check that ``x``, in messages ``name``, are images and that ``labels``, where given, are their labels.

    Raises:
        InputError: ``x`` are no float32 or float64 ``(N, C, H, W)`` from 0 to 1, N at least 1 (fewer bits would round
            steps away), or a label no int64 ``(N,)`` from 0.
    """
    if not all(isinstance(part, torch.Tensor) for part in (x, *labels)):
        kinds = " and y a ".join(type(part).__name__ for part in (x, *labels))
        raise InputError(f"{name} is a {kinds}; images and labels must be tensors")
    if not (x.ndim == 4 and x.dtype in (torch.float, torch.double) and len(x) and 0 <= x.min() <= x.max() <= 1):
        raise InputError(f"{name} {x.dtype} {tuple(x.shape)}: images must be float32 or float64 (N, C, H, W) in [0, 1]")
    for y in labels:
        if not (y.shape == x.shape[:1] and y.dtype == torch.int64 and y.min() >= 0):
            raise InputError(f"{len(x)} images, y {y.dtype} {tuple(y.shape)}: y must be int64 (N,) >= 0, one an image")
