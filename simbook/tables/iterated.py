r"""The tables of chapters 4.1 and 4.2: how fast iterated examples saturate, and where they turn."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom

from simadv.runs import passes_per_image
from simadv.store import Store, default
from simbook import chapters
from simbook.settings import Settings
from simbook.tables import shapes
from simbook.tables.common import NOT_RUN, title
from simbook.tables.curves import NAMES, Curve, Lines, interval

# where the paper says that rho is "around" something (sections 4.1 and 4.2)
AROUND = 5
AT_TURN = {"mnist": 0.8, "fmnist": 0.8, "cifar10": 0.9}
WITHIN = 0.05  # "within 5 % of 1"
GOOD = 0.8  # an intermediate example of good quality has this rho, the value that the paper itself names
SHOWN = (0, 1, 2, 3, 5, 10, 20, 30)
ENDS = ("low", "high")
FEWEST = 4  # points that a comparison of two fits of two parameters needs


def span(value: float, low: float, high: float, digits: int = 0) -> str:
    """Return a value with its 95 % interval as text: ``5 [4, 6]``."""
    if np.isnan(value):
        return "-"
    ends = ["-" if np.isnan(end) else f"{end:.{digits}f}" for end in (low, high)]
    return f"{value:.{digits}f} [{', '.join(ends)}]"


def labelled(rows: dict[tuple, dict], columns: list[str]) -> pd.DataFrame:
    """Return rows as a table whose index are their keys; cells that a row lacks are "not run"."""
    index = pd.MultiIndex.from_tuples(rows, names=["data set", "net", "attack"][: len(next(iter(rows)))])
    cells = [[row.get(column, NOT_RUN) for column in columns] for row in rows.values()]
    return pd.DataFrame(cells, index=index, columns=columns)


def saturates(curve: Curve) -> tuple[int, float, float]:
    """Return from which setting on rho stays within 5 % of 1, with the 95 % interval of a bootstrap over images."""
    rule = {"at": 1.0, "within": WITHIN}
    return (
        int(shapes.saturated_from(curve.rho, **rule)),
        *interval(shapes.saturated_from(curve.resampled, **rule).astype(float)),
    )


def within_a_point(curve: Curve) -> int:
    """Return from which setting on the error rate stays within 1 point of the last."""
    return int(shapes.saturated_from(curve.error, at=curve.error[-1], within=1.0))


def saturation(lines: Lines) -> pd.DataFrame:
    """Return where each curve of Fig. 3 saturates, by rho's rule and by error rates, beside the paper's word."""
    rows: dict[tuple, dict] = {}
    for spec, curves in lines.items():
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {})
        for curve in curves:
            low, high = (ends[AROUND] for ends in curve.rho_interval)
            row["error at n = 30 (%)"] = f"{curve.error[-1]:.2f}"
            row["rho at n = 5"] = span(curve.rho[AROUND], low, high, 3)
            row["rho within 5 % of 1 from n ="] = span(*saturates(curve))
            row["error within 1 point from n ="] = f"{within_a_point(curve)}"
        row["the paper"] = f"around {AROUND}"
    columns = ["error at n = 30 (%)", "rho at n = 5", "rho within 5 % of 1 from n =", "error within 1 point from n ="]
    return labelled(rows, [*columns, "the paper"])


def errors(lines: Lines, *, axis: str) -> pd.DataFrame:
    """Return error rates (%) at some settings with rho in brackets, of each net's first curve."""
    rows = {}
    for spec, curves in lines.items():
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {})
        for curve in curves[:1]:
            row |= {f"{axis} = {k}": f"{curve.error[k]:.2f} ({curve.rho[k]:.3f})" for k in SHOWN}
    return labelled(rows, [f"{axis} = {k}" for k in SHOWN])


def training(lines: Lines, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return what rho says at n = 1, 5 and 30 beside what training with BIM(n,n) gives.

    Columns: ``dataset, n, net``; ``vanilla, bim``: rho of these nets at n; ``attack``; ``fgsm, iterated``: accuracy (%)
    of the net that was trained with n, under FGSM and ``attack``; ``passes``: F an image and epoch.
    """
    store, rows = store or default(), []
    for dataset in settings.datasets:
        rho = {spec.method: curves[0].rho for spec, curves in lines.items() if spec.dataset == dataset and curves}
        _, fgsm, iterated, *_ = chapters.evaluations(dataset)
        nets = {n: chapters.trained_with(n, settings, dataset) for n in chapters.TRAINED_WITH}
        # beside them, in no verdict: as many steps, and three times the way
        nets |= {np.nan: chapters.of_section_4(settings, dataset, "bim")}
        for n, spec in nets.items():
            row = {"dataset": dataset, "n": n, "net": title(spec), "attack": iterated.attack}
            row |= {method: values[n] for method, values in rho.items() if n in chapters.TRAINED_WITH}
            run = store.find(spec)
            for name, measure in (("fgsm", fgsm), ("iterated", iterated)):
                stored = store.evaluation(run, measure) if run else None
                row[name] = np.nan if stored is None else 100 * stored["true"] / stored["images"]
            rows.append(row | {"passes": sum(passes_per_image(spec))})
    columns = ["dataset", "n", "net", "vanilla", "bim", "attack", "fgsm", "iterated", "passes"]
    return pd.DataFrame(rows).reindex(columns=columns)


def training_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`training` as text."""

    def text(values: pd.Series, digits: int) -> list[str]:
        return [NOT_RUN if pd.isna(value) else f"{value:.{digits}f}" for value in values]

    alike = ["-" if pd.isna(n) else f"{n:.0f}" for n in table.n]
    shown = pd.DataFrame({"n1 = n2": alike, "rho, Vanilla": text(table.vanilla, 3)})
    shown["rho, BIM-Adv"] = text(table.bim, 3)
    shown.loc[table.n.isna().to_numpy(), ["rho, Vanilla", "rho, BIM-Adv"]] = "-"
    shown["a net trained with this n"] = table.net
    shown["its accuracy under FGSM (%)"] = text(table.fgsm, 2)
    shown["under an iterated attack (%)"] = [
        value if value == NOT_RUN else f"{value} ({attack})"
        for value, attack in zip(text(table.iterated, 2), table.attack, strict=True)
    ]
    shown["F an image and epoch"] = table.passes
    return shown.set_index([table.dataset.map(NAMES).rename("data set"), "n1 = n2"])


class Falls(NamedTuple):
    """Where a curve falls.

    Attributes:
        count: steps at which fewer images are wrong than before.
        largest: the largest fall of rho.
        beyond: falls beyond chance, by a one-sided sign test of the images that changed; 5 % for all steps together.
        healed: images that were ever wrong and right again.
    """

    count: int
    largest: float
    beyond: int
    healed: int


def falls(curve: Curve) -> Falls:
    """Return where a curve falls, and whether that can be chance."""
    before, after = curve.histories[:, :-1], curve.histories[:, 1:]
    right_again, newly_wrong = curve.counts @ (before & ~after), curve.counts @ (~before & after)
    chance = binom.cdf(newly_wrong, right_again + newly_wrong, 0.5)
    fell = np.diff(curve.wrong) < 0
    largest = max(0.0, float(-np.diff(curve.rho).min()))
    beyond = (fell & (chance < 0.05 / len(fell))).sum()
    return Falls(int(fell.sum()), largest, int(beyond), int(curve.counts[(before & ~after).any(1)].sum()))


def monotone(lines: Lines) -> pd.DataFrame:
    """Return how often rho falls along each net's first curve, and where it saturates."""
    rows: dict[tuple, dict] = {}
    for spec, curves in lines.items():
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {})
        for curve in curves[:1]:
            found = falls(curve)
            row["steps at which rho falls"] = f"{found.count} of {len(curve.wrong) - 1}"
            row |= {"beyond chance": f"{found.beyond}", "largest fall": f"{found.largest:.4f}"}
            row["images wrong, then right"] = f"{found.healed} of {curve.images}"
            row["rho within 5 % of 1 from i ="] = span(*saturates(curve))
    columns = ["steps at which rho falls", "beyond chance", "largest fall", "images wrong, then right"]
    columns.append("rho within 5 % of 1 from i =")
    return labelled(rows, columns)


def turns(curve: Curve) -> tuple[int, float, float]:
    """Return a curve's turning point, where growth drops most, with its 95 % interval over images."""
    return int(shapes.turning_point(curve.rho)), *interval(shapes.turning_point(usable(curve)))


def usable(curve: Curve) -> np.ndarray:
    """Return the resamples whose rho is defined."""
    return curve.resampled[~np.isnan(curve.resampled).any(1)]


def turning(lines: Lines) -> pd.DataFrame:
    """Return where each curve of section 4.2 turns, by two rules, and rho there, beside the paper's numbers.

    Columns: ``dataset, net, method, n1``; ``own``: the n1 is the paper's; ``turn, low, high``: where growth drops
    most, with its 95 % interval over images; ``knot``: of the best broken line; ``rho, rho_low, rho_high`` at the
    turn; ``paper_turn``: for BIM-Adv, at the paper's own n1.
    """
    rows = []
    for spec, curves in lines.items():
        for curve in curves:
            row = {"dataset": spec.dataset, "net": title(spec), "method": spec.method, "n1": curve.n1}
            row["own"] = curve is curves[0]
            if not np.isnan(curve.rho).any():
                row |= dict(zip(("turn", "low", "high"), turns(curve), strict=True))
                row |= {"knot": float(shapes.broken_line(curve.rho)), "rho": curve.rho[row["turn"]]}
                row |= {f"rho_{end}": values[row["turn"]] for end, values in zip(ENDS, curve.rho_interval, strict=True)}
            if spec.method == "bim" and row["own"]:
                row["paper_turn"] = curve.n1
            rows.append(row)
    columns = ["dataset", "net", "method", "n1", "own", "turn", *ENDS, "knot", "rho", "rho_low", "rho_high"]
    return pd.DataFrame(rows).reindex(columns=[*columns, "paper_turn"]).astype({"own": bool})


def turn_printed(dataset: str) -> str:
    """Return what the paper says of BIM-Adv's turning point."""
    return "at n1" + (f", rho around {AT_TURN[dataset]}" if dataset in AT_TURN else "")


def turning_shown(table: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    """Return :func:`turning` as text, with a row for each net that was not run."""
    rows: dict[tuple, dict] = {}
    for row in table.itertuples():
        cells = {"turning point": span(row.turn, row.low, row.high), "knot of a broken line": f"{row.knot:.1f}"}
        cells["rho at the turning point"] = span(row.rho, row.rho_low, row.rho_high, 3)
        cells["the paper"] = "-" if pd.isna(row.paper_turn) else turn_printed(row.dataset)
        rows[NAMES[row.dataset], row.net, f"BIM({row.n1:g},30)"] = cells
    for spec in [spec for spec, curves in lines.items() if not curves]:
        row = {"the paper": turn_printed(spec.dataset) if spec.method == "bim" else "-"}
        rows[NAMES[spec.dataset], title(spec), "-"] = row
    return labelled(rows, ["turning point", "knot of a broken line", "rho at the turning point", "the paper"])


def growths(lines: Lines) -> pd.DataFrame:
    """Return how a straight line and an exponential fit each net's first curve up to its turning point.

    Columns: ``dataset, net, method, upto``; ``linear, exponential``: root mean square residuals of rho; ``factor``:
    the exponential's growth per step; ``share``: of the resamples, in how many the exponential fits better.
    """
    rows = []
    for spec, curves in lines.items():
        for curve in [curve for curve in curves[:1] if not np.isnan(curve.rho).any()]:
            upto = turns(curve)[0]
            row = {"dataset": spec.dataset, "net": title(spec), "method": spec.method, "upto": upto}
            if upto + 1 >= FEWEST:
                fit, fits = (shapes.growth(values[..., : upto + 1]) for values in (curve.rho, usable(curve)))
                row |= {name: float(value) for name, value in fit._asdict().items()}
                row["share"] = float((fits.exponential < fits.linear).mean())
            rows.append(row)
    columns = ["dataset", "net", "method", "upto", "linear", "exponential", "factor", "share"]
    return pd.DataFrame(rows).reindex(columns=columns)


def growths_shown(table: pd.DataFrame, lines: Lines) -> pd.DataFrame:
    """Return :func:`growths` as text, with a row for each net that was not run."""
    rows: dict[tuple, dict] = {}
    for spec in lines:
        rows[NAMES[spec.dataset], title(spec)] = {}
    for row in table.itertuples():
        cells = {"fitted": f"i = 0 to {row.upto}", "residual, line": f"{row.linear:.4f}"}
        cells |= {"residual, exponential": f"{row.exponential:.4f}", "growth per step": f"x {row.factor:.2f}"}
        rows[NAMES[row.dataset], row.net] = cells | {"exponential better": f"{100 * row.share:.0f} % of resamples"}
    columns = ["fitted", "residual, line", "residual, exponential", "growth per step", "exponential better"]
    return labelled(rows, columns)


def maxima(inside: Lines, along: Lines) -> pd.DataFrame:
    """Return error rates (%) at the end of Fig. 3's axis and inside and at the end of Fig. 4's."""
    rows: dict[tuple, dict] = {}
    for spec, curves in inside.items():
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {})
        for curve in along.get(spec, []):
            row["BIM(30,30)"] = f"{curve.error[-1]:.2f}"
        for curve in curves:
            n1 = int(np.ceil(curve.n1))
            row["BIM(n1,n1)"] = row.get("BIM(n1,n1)", f"{curve.error[n1]:.2f}")
            row[f"BIM({'n1' if curve is curves[0] else 'n1/2' if curve.n1 < curves[0].n1 else '2 n1'},30)"] = (
                f"{curve.error[-1]:.2f}"
            )
        row["n1"] = f"{curves[0].n1:g}" if curves else NOT_RUN
    columns = ["n1", "BIM(n1,n1)", "BIM(30,30)", "BIM(2 n1,30)", "BIM(n1,30)", "BIM(n1/2,30)"]
    return labelled(rows, columns)
