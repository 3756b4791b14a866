"""Numbers out of repeated timings: medians, spreads, ratios, exponents. No clock and no device in here."""

import math
import statistics


def summary(seconds: list[float]) -> dict[str, float]:
    """Return the median and how far the middle half of the timings spreads, as a share of the median."""
    if not seconds or min(seconds) <= 0:
        raise ValueError("timings must be there and above 0")
    median = statistics.median(seconds)
    if len(seconds) < 2:
        return {"median": median, "spread": 0.0, "rounds": len(seconds)}
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": median, "spread": (high - low) / median, "rounds": len(seconds)}


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median of the ratios within each round: what disturbs a whole round cancels."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def exponent(sizes: list[float], values: list[float]) -> float:
    """Return p of the best fit of values = c sizes^p, by least squares of the logarithms."""
    x, y = ([math.log(v) for v in vector] for vector in (sizes, values))
    slope, _ = statistics.linear_regression(x, y)
    return slope


def floor(flops: float, size: float, *, rate: float, bandwidth: float) -> dict[str, float]:
    """Return the seconds that the arithmetic and the bytes need at least, and the larger of the two."""
    arithmetic, memory = flops / rate, size / bandwidth
    return {"arithmetic": arithmetic, "memory": memory, "floor": max(arithmetic, memory)}


def units(forward: int, backward: int, updates: int) -> int:
    """Return the cost of a method's passes where a backward costs one forward to the input and one to the weights."""
    return forward + backward + updates
