r"""The stored curves of section 4 as objects: error rates, rho (Eq. 13), and how sure they are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from simadv.evaluation import rho
from simadv.specs import RunSpec
from simadv.store import Store, default
from simbook import chapters
from simbook.measures.curves import Intermediate, Saturation
from simbook.settings import Settings
from simbook.tables.common import NAMES, Found, share_of, title

RESAMPLES = 1000
SPREAD = 1.959964  # of a normal distribution, 95 % within
Lines = dict[RunSpec, list["Curve"]]


@dataclass(frozen=True, eq=False)
class Curve:
    """Who of the test images is misclassified at each setting of an attack, at 0 none.

    Attributes:
        spec: the net's.
        n1: of the attack, where it is the same at all settings.
        histories: booleans, a row for each kind of image, a column for each setting: misclassified or not.
        counts: how many images are of each kind.
        moved: how far a pixel is from where it was, as a share of epsilon, on average; where it was measured.
    """

    spec: RunSpec
    n1: float | None
    histories: np.ndarray
    counts: np.ndarray
    moved: tuple[float, ...] = ()

    @classmethod
    def read(cls, spec: RunSpec, stored: dict) -> "Curve":
        """Make one of what a measure stored."""
        histories = np.array([[digit == "1" for digit in text] for text in stored["patterns"]])
        counts = np.array(list(stored["patterns"].values()))
        curve = cls(spec, stored.get("n1"), histories, counts, tuple(stored.get("moved", ())))
        if curve.wrong.tolist() != stored["wrong"]:
            raise ValueError(f"{spec.id}: the curve's counts and its patterns do not agree")
        return curve

    @property
    def net(self) -> str:
        """The net's method as the paper writes it."""
        return title(self.spec)

    @property
    def images(self) -> int:
        """How many images were attacked."""
        return int(self.counts.sum())

    @cached_property
    def wrong(self) -> np.ndarray:
        """How many images are misclassified at each setting."""
        return self.counts @ self.histories

    @cached_property
    def error(self) -> np.ndarray:
        """Error rates in percent."""
        return 100 * self.wrong / self.images

    @cached_property
    def rho(self) -> np.ndarray:
        """Eq. 13 at each setting; NaN where not one image is misclassified at the last."""
        if not self.wrong[-1]:
            return np.full(len(self.wrong), np.nan)
        return np.array([rho(error / 100, self.error[-1] / 100) for error in self.error])

    @cached_property
    def rho_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """95 % interval of rho: numerator and denominator count the same images, so only those that differ matter.

        The logarithm of a ratio of paired proportions; NaN where nothing is misclassified.
        """
        last = self.histories[:, -1:]
        differ = self.counts @ (self.histories ^ last)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.exp(SPREAD * np.sqrt(differ / (self.wrong * self.wrong[-1])))
            low, high = self.rho / factor, self.rho * factor
        low[self.wrong == 0] = high[self.wrong == 0] = np.nan
        return low, high

    @cached_property
    def resampled(self) -> np.ndarray:
        """Rho of as many test sets drawn from this one with replacement, ``(resamples, settings)``."""
        draws = np.random.default_rng(0).multinomial(self.images, self.counts / self.images, size=RESAMPLES)
        wrong = draws @ self.histories
        return wrong / np.where(wrong[:, -1:] == 0, np.nan, wrong[:, -1:])

    def frame(self, axis: str) -> pd.DataFrame:
        """Return the curve as rows, with the 95 % intervals; its settings are the column ``axis``."""
        _, low, high = zip(*(share_of(wrong, self.images) for wrong in self.wrong), strict=True)
        named = {"dataset": self.spec.dataset, "net": self.net, "label": f"{NAMES[self.spec.dataset]}, {self.net}"}
        named |= {"method": self.spec.method, "n1": self.n1}
        columns = {axis: np.arange(len(self.wrong)), "images": self.images, "wrong": self.wrong, "error": self.error}
        columns |= {"low": low, "high": high}
        columns |= {"rho": self.rho, "rho_low": self.rho_interval[0], "rho_high": self.rho_interval[1]}
        return pd.DataFrame(named | columns)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of a bootstrap's values."""
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def collect(chapter: str, found: Found, settings: Settings, *, store: Store | None = None) -> Lines:
    """Return the curves of each net that a chapter asks them of; of a net that was not run, none."""
    store, lines = store or default(), {}
    asked = chapters.CHAPTERS[chapter](settings)
    for spec, run in found:
        for measure in [m for m in asked.get(spec, []) if isinstance(m, Saturation | Intermediate)]:
            stored = store.evaluation(run, measure) if run else None
            parts = [] if stored is None else stored.get("curves", [stored])
            lines[spec] = [Curve.read(spec, part) for part in parts]
    return lines


def frame(lines: Lines, axis: str) -> pd.DataFrame:
    """Return all curves as one table, empty where nothing was run; ``own`` is each net's first, the paper's own."""
    rows = [curve.frame(axis).assign(own=curve is curves[0]) for curves in lines.values() for curve in curves]
    if not rows:
        return pd.DataFrame(columns=["dataset", "net", "method", "n1", axis, "rho", "own"]).astype({"own": bool})
    return pd.concat(rows, ignore_index=True)
