r"""What is stored of a net's features (:class:`simbook.measures.embedding.Embedding`) as tables, for any chapter."""

import numpy as np
import pandas as pd

from simadv.store import Run, Store, default
from simbook.measures.embedding import Embedding, mixed_each
from simbook.settings import Settings
from simbook.tables.common import NOT_RUN
from simbook.tables.spread import Margin, half_of_share

#: A record of :class:`simbook.measures.embedding.Embedding`, or None where it is not stored, by the panel's title.
Panels = dict[str, dict | None]
KINDS = ("reference", "target", "adversarial example")
# Halfway between a guess and certainty: from here on two groups count as separable.
SEPARABLE = 75.0


def pictured(settings: Settings) -> str:
    """Return the data set of Figs. 1 and 9: MNIST, as in the paper, or the digits that stand in for it."""
    return "digits" if "digits" in settings.datasets else "mnist"


def record(run: Run | None, attack: str, *, store: Store | None = None) -> dict | None:
    """Return what is stored of a run's features under ``attack``, or None."""
    return None if run is None else (store or default()).evaluation(run, Embedding(attack=attack))


def numbers(panels: Panels) -> pd.DataFrame:
    """Return one row a panel, in percent, NaN where not run.

    Columns: ``missed, fooled, separable, mixed, at_home, targets_at_home`` of the record, and ``mixed_seen``: what
    ``mixed`` is among the points of t-SNE, the picture's own answer; half of the 95 % interval of three of them, over
    the examples: ``mixed_half`` (of ``mixed_seen``), ``home_half``, ``separable_half``.
    """
    rows = {}
    for name, found in panels.items():
        rows[name] = {}
        if found is not None:
            references, targets, examples = found["counts"]
            points = np.stack([found["x"], found["y"]], 1)[references:]
            rows[name] = {"missed": 100 * found["missed"] / targets, "fooled": 100 * found["fooled"] / examples}
            rows[name] |= {key: found[key] for key in ("separable", "mixed", "at_home", "targets_at_home")}
            each = 100 * mixed_each(points[:targets], points[targets:])
            rows[name] |= {"mixed_seen": round(each.mean(), 2), "mixed_half": 1.96 * each.std() / examples**0.5}
            rows[name]["home_half"] = half_of_share(found["at_home"], examples)
            rows[name]["separable_half"] = half_of_share(found["separable"], targets + examples)
    columns = ["missed", "fooled", "separable", "mixed", "mixed_seen", "at_home", "targets_at_home"]
    columns += ["mixed_half", "home_half", "separable_half"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def gap(halved: pd.DataFrame, first: str, second: str) -> Margin:
    """Return how far one panel's number is above another's, with its 95 % interval.

    Args:
        halved: a number of :func:`numbers` and half of its interval, a row a panel.
    """
    (a, half), (b, other) = (halved.loc[letter] for letter in (first, second))
    return Margin(a - b, float(np.hypot(half, other)), most=100.0)


def shown(panels: Panels) -> pd.DataFrame:
    """Return :func:`numbers` as text to read; ``not run`` where nothing is stored."""
    heads = {"fooled": "examples mistaken", "missed": "targets mistaken", "separable": "separable"}
    heads |= {"mixed": "mixed", "mixed_seen": "mixed in the figure", "at_home": "examples at home"}
    heads |= {"targets_at_home": "targets at home"}
    table = numbers(panels)[list(heads)].rename(columns=heads)
    return table.map(lambda value: NOT_RUN if pd.isna(value) else f"{value:.1f}")


def points(panels: Panels) -> pd.DataFrame:
    """Return every point of a figure: ``panel, kind, true_class, x, y`` (``true_class`` of references alone)."""
    frames = []
    for name, found in panels.items():
        if found is None:
            continue
        references, targets, examples = found["counts"]
        classes = pd.array([*found["classes"], *[pd.NA] * (targets + examples)], dtype="Int64")
        kinds = [KINDS[0]] * references + [KINDS[1]] * targets + [KINDS[2]] * examples
        row = {"panel": name, "kind": kinds, "true_class": classes, "x": found["x"], "y": found["y"]}
        frames.append(pd.DataFrame(row))
    columns = ["panel", "kind", "true_class", "x", "y"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
