"""Checks of what comes in: one clear line that says what was wrong and what is allowed."""

import difflib
import math
from collections.abc import Iterable
from numbers import Real


class InputError(ValueError):
    """Something that a user gave is wrong; the message says what, and what is allowed."""


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        InputError: it is not; the message lists what is allowed and the nearest guess.
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    raise InputError(f"{name} = {value!r} is not known{guess(value, allowed)}; allowed: {', '.join(allowed)}")


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
    if not value > above:
        raise InputError(f"{name} = {value!r} must be above {above:g}")
    if value < least:
        raise InputError(f"{name} = {value!r} must be at least {least:g}")
    if value > most:
        raise InputError(f"{name} = {value!r} must be at most {most:g}")
    return value


def whole(name: str, value: object, *, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} = {value!r} must be a whole number of at least {least}")
    return int(number(name, value, least=least, most=2**63 - 1))
