r"""The tables of chapter 5: what SIM-Adv's examples reach, what the monitor saw, and the runs beside each other."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from simadv.adversaries import SIM
from simadv.attacks import input_gradient
from simadv.data import Identity
from simadv.runs import passes_per_image
from simadv.store import Store, default
from simbook import chapters
from simbook.settings import Settings
from simbook.tables import embedding, evaluation
from simbook.tables.common import NOT_RUN, Found, history, named, rate, seconds_an_epoch, title
from simbook.tables.embedding import Panels

# the panels of Fig. 9, Free-Adv's, and SIM-Adv's beside them
FIG9 = (("free", "FGSM"), ("free", "BIM(30,30)"), ("sim", "FGSM"), ("sim", "BIM(30,30)"))
BACK = 5.0  # points: robustness is back after a reset where it is no farther below what it was
ALONG = ("robust", "clean")


def neighbours(
    settings: Settings,
    found: Found,
    *,
    methods: tuple[str, ...] = ("bim", "madry", "free", "atda"),
    store: Store | None = None,
) -> Found:
    """Return runs of other chapters to compare with, those of ``methods`` at the book's rates, if stored."""
    store = store or default()
    known = {spec for spec, _ in found}
    specs = [
        spec
        for dataset in dict.fromkeys(spec.dataset for spec, _ in found)
        for method in methods
        for spec in chapters.both_rates(settings, dataset, method)
    ]
    return [(spec, store.find(spec)) for spec in specs if spec not in known]


def repeated(found: Found, *, store: Store | None = None) -> Found:
    """Return the other seeds of these runs that are stored."""
    store = store or default()
    twins = [replace(spec, seed=seed) for spec, _ in found for seed in chapters.SEEDS if spec.seed == 0]
    return [(spec, run) for spec in twins if (run := store.find(spec)) is not None]


def accuracies(found: Found, **options) -> pd.DataFrame:
    """Return :func:`simbook.tables.evaluation.accuracies` with the settings ``n1, n2, reset`` of each run."""
    frame = evaluation.accuracies(found, **options)
    specs = {spec.id: spec for spec, _ in found}
    named = {name: [getattr(specs[run], name) for run in frame.run] for name in ("n1", "n2", "reset")}
    frame = frame.assign(**named)
    # the paper's row is of SIM-Adv with over-perturbation
    frame.loc[frame.method.eq("sim") & ~(frame.n1 < frame.n2), "paper"] = float("nan")
    return frame


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return accuracies (%) under true labels as text: a row a run, a column an attack."""
    texts = [NOT_RUN if pd.isna(value) else f"{value:.2f}" for value in frame.true]
    long = frame.assign(text=texts, rate=frame.lr.map(rate))
    table = long.pivot_table(index=["title", "rate"], columns="attack", values="text", aggfunc="first", sort=False)
    return table[list(frame.attack.unique())].rename_axis(["method", "rate"]).rename_axis(columns=None)


def one_epoch(kept: dict[str, SIM], model: nn.Module, x_hat: Tensor, y: Tensor, *, epoch: int) -> dict:
    """Return what one epoch does to one carried image, in grey levels, as a row to read.

    Args:
        kept: the same SIM with each ``projection``, ``ball`` and ``literal``; both go one epoch on.
        x_hat: the image, ``(1, C, H, W)``.
    """
    ball, index = kept["ball"], torch.tensor([0])
    again = bool(ball.restarts(index, epoch))
    start = x_hat if again else ball.carried.read(index)
    sign = input_gradient(model, start, y).sign()
    made = {
        name: sim(model, x_hat, y, index, epoch=epoch, view=Identity(), generator=None) for name, sim in kept.items()
    }
    row = {"epoch": epoch, "i": epoch % ball.attack.n2, "starts from": "the image" if again else "carried"}
    row |= {"start": levels(start), "sign": sign.flatten().int().tolist(), "carried": levels(made["ball"])}
    away = float((made["ball"] - x_hat).abs().max()) / ball.attack.epsilon
    literal = float((made["literal"] - x_hat).abs().max()) / ball.attack.epsilon
    row |= {"away": f"{away:.2f} epsilon", "as printed": levels(made["literal"])}
    return row | {"away as printed": f"{literal:.2f} epsilon"}


def levels(x: Tensor) -> list[int]:
    """Return pixels as whole grey levels."""
    return (255 * x).round().int().flatten().tolist()


def reach(n1: float, n2: int, *, epochs: int, reset: str = "cycle") -> pd.DataFrame:
    """Return by arithmetic how far the examples of each epoch can be, over all images: ``epoch, farthest, full``.

    ``farthest``: the mean of the largest distances possible, in percent of epsilon. ``full``: the share (%) of the
    images whose examples can be at epsilon. Phases are taken as evenly spread.
    """
    epoch = np.arange(epochs)[:, None]
    phase = np.arange(n2 if reset == "staggered" else 1)[None]
    since = (epoch + phase) % n2
    if reset == "staggered":  # whose first restart is still to come goes on from the beginning
        since = np.where(epoch - since >= n2, since, epoch)
    share = np.minimum(1, (since + 1) / n1)
    parts = {"farthest": 100 * share.mean(1), "full": 100 * (share >= 1).mean(1)}
    return pd.DataFrame({"epoch": epoch[:, 0] + 1} | parts)


def cycles(settings: list[tuple[float, int]]) -> pd.DataFrame:
    """Return for each (n1, n2) how many epochs of a cycle can be at full epsilon, and how far the mean one gets."""
    rows = {}
    for n1, n2 in settings:
        of_cycle = reach(n1, n2, epochs=n2)
        full = int((of_cycle.full == 100).sum())
        rows[f"SIM({n1:g},{n2})"] = {
            "setting": "over-perturbation" if n1 < n2 else "under-perturbation",
            "epochs of a cycle": n2,
            "at full epsilon": full,
            "share": f"{100 * full / n2:.0f} %",
            "mean reach": f"{of_cycle.farthest.mean():.1f} % of epsilon",
        }
    return pd.DataFrame(rows).T


def watched(found: Found) -> pd.DataFrame:
    """Return what the monitor saw of SIM-Adv after every epoch, a row an epoch, beside :func:`reach`.

    Columns: ``dataset, lr, n1, n2, reset, title, epoch, clean, robust, farthest, full``; a run that was not made or
    not watched has none.
    """
    frames = []
    for spec, run in found:
        if spec.method == "sim" and run is not None and spec.monitor is not None:
            seen = history(run)[["epoch", "clean", "robust"]]
            about = {name: getattr(spec, name) for name in ("dataset", "lr", "n1", "n2", "reset")}
            seen = seen.assign(title=title(spec), **about)
            policy = "staggered" if spec.reset == "staggered" else "cycle"
            frames.append(seen.merge(reach(spec.n1, spec.n2, epochs=spec.epochs, reset=policy), on="epoch"))
    columns = ["dataset", "lr", "n1", "n2", "reset", "title", "epoch", "clean", "robust", "farthest", "full"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def sawtooth(seen: pd.DataFrame) -> pd.DataFrame:
    """Return a row a run of :func:`watched`: ``dataset, lr, title, reset``, its last epoch and those since cycle one.

    ``last``, ``lowest``, ``at`` (the epoch of the lowest), ``clean`` (the lowest): in percent. ``lost``: epochs at less
    than half of ``last``. ``later``: all epochs since the first cycle. ``back``: the mean number of epochs from a reset
    until robustness is within :data:`BACK` points of what it was before it; NaN where there is no common reset, or no
    way back. ``fall``: the largest fall from an epoch to a later one.
    """
    rows = []
    for (dataset, lr, name, reset, n2), line in seen.groupby(["dataset", "lr", "title", "reset", "n2"], sort=False):
        robust = line.set_index("epoch").robust
        late, last = robust[robust.index > n2], robust.iloc[-1]
        row = {"dataset": dataset, "lr": lr, "title": name, "reset": reset, "last": last, "later": len(late)}
        if len(late):
            row |= {"lowest": late.min(), "at": late.idxmin(), "lost": int((late < last / 2).sum())}
            row |= {"clean": line[line.epoch > n2].clean.min()}
        row["back"] = _back(robust, n2) if reset == "cycle" else float("nan")
        row["fall"] = (robust.cummax() - robust).max()
        rows.append(row)
    columns = ["dataset", "lr", "title", "reset", "last", "later", "lowest", "at", "lost", "clean", "back", "fall"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _back(robust: pd.Series, n2: int) -> float:
    """Return the mean number of epochs that it takes after a reset until ``robust`` (by epoch) is back."""
    waits = []
    for before in range(n2, int(robust.index[-1]), n2):
        cycle = robust.loc[before + 1 : before + n2]
        near = cycle.index[cycle >= robust[before] - BACK]
        waits.append(near[0] - before if len(near) else float("nan"))
    return float(np.mean(waits)) if waits else float("nan")


def sawtooth_shown(facts: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`sawtooth` as text to read."""
    table = pd.DataFrame({"data set": facts.dataset.map(named), "rate": facts.lr.map(rate), "run": facts.title})
    table["last (%)"] = facts["last"].map("{:.1f}".format)
    lowest = zip(facts.lowest, facts["at"], strict=True)
    table["lowest since cycle 1 (%)"] = ["-" if pd.isna(v) else f"{v:.1f} at epoch {e:.0f}" for v, e in lowest]
    lost = zip(facts.lost, facts.later, strict=True)
    table["epochs at less than half of it"] = ["-" if pd.isna(v) else f"{v:.0f} of {n}" for v, n in lost]
    table["back after"] = ["-" if pd.isna(v) else f"{v:.1f} epochs" for v in facts.back]
    table["lowest clean (%)"] = ["-" if pd.isna(v) else f"{v:.1f}" for v in facts.clean]
    return table.set_index(["data set", "rate", "run"])


def over_perturbed(settings: Settings, found: Found) -> Found:
    """Return the runs of section 5.2 alone, SIM-Adv without and with over-perturbation, data set by data set."""
    runs = dict(found)
    asked = [
        spec for name in dict.fromkeys(s.dataset for s in runs) for spec in chapters.over_perturbed(settings, name)
    ]
    return [(spec, runs[spec]) for spec in asked]


def fig7(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the points of Fig. 7, NaN where not run: Madry-Adv's accuracy under iterated attacks, by n1."""
    rows = frame[(frame.method == "madry") & frame.attack.astype(str).str.contains("BIM|Madry")]
    rows = rows[rows.groupby(["dataset", "lr"]).n1.transform("nunique") > 1]  # the rate of the sweep
    columns = ["dataset", "title", "n1", "n2", "lr", "attack", "true", "low", "high"]
    return rows[columns].sort_values(["dataset", "attack", "n1"], ascending=[False, True, False], ignore_index=True)


def fig9(settings: Settings, found: Found, dataset: str, *, store: Store | None = None) -> Panels:
    """Return Fig. 9's panels by title, Free-Adv's, and SIM-Adv's beside them."""
    runs, panels = dict(found), {}
    for letter, (method, attack) in zip("abcd", FIG9, strict=True):
        spec = chapters.spec_of(settings, dataset, method)
        if spec in runs:  # else a data set that the figure does not show
            panels[f"({letter}) {title(spec)}, {attack}"] = embedding.record(runs[spec], attack, store=store)
    return panels


def falls(found: Found) -> pd.DataFrame:
    """Return the largest fall from one epoch to a later one, in points: ``clean, robust``, a row a setting.

    Of several watched runs of a setting, ``seeds``, it is that of the one that fell furthest. ``ends`` is that of
    robust accuracy from the end of one cycle to a later one's, where all examples start afresh together, else NaN.
    BIM-Adv is among them, as a measure of how much training swings.
    """
    rows = []
    for spec, run in found:
        if spec.method in ("sim", "free", "bim") and run is not None and spec.monitor is not None:
            seen = history(run)
            worst = {name: fall(seen[name]) for name in ALONG}
            ends = seen.epoch % spec.n2 == 0 if spec.reset in ("cycle", "random") else seen.epoch < 0
            worst["ends"] = fall(seen.robust[ends])
            about = {name: getattr(spec, name) for name in ("dataset", "method", "lr", "reset", "n1", "n2")}
            rows.append(about | {"title": title(spec), "watched": len(seen), "seeds": spec.seed} | worst)
    names = ["dataset", "method", "title", "lr", "reset", "n1", "n2", "watched"]
    table = pd.DataFrame(rows, columns=[*names, "seeds", "clean", "robust", "ends"])
    largest = dict.fromkeys(("clean", "robust", "ends"), "max") | {"seeds": "nunique"}
    return table.groupby(names, sort=False, dropna=False).agg(largest).reset_index()


def fall(values: pd.Series) -> float:
    """Return the largest fall from one value to a later one; NaN where there are not two."""
    return float((values.cummax() - values).max()) if len(values) > 1 else float("nan")


def falls_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`falls` as text to read."""
    heads = {"dataset": "data set", "title": "run", "watched": "looks", "seeds": "seeds"}
    heads |= {"clean": "largest fall, clean (points)", "robust": "robust", "ends": "robust, between ends of cycles"}
    text = table.assign(dataset=table.dataset.map(named), rate=table.lr.map(rate))
    for name in ("clean", "robust", "ends"):
        text[name] = ["-" if pd.isna(value) else f"{value:.1f}" for value in table[name]]
    return (
        text[["dataset", "title", "rate", "seeds", "watched", "clean", "robust", "ends"]]
        .rename(columns=heads)
        .set_index(["data set", "run", "rate"])
    )


def costs(found: Found) -> pd.DataFrame:
    """Return what an epoch of each method costs in F whatever its n1 (see the notation), and in seconds as stored."""
    rows: dict[tuple[str, str], dict] = {}
    for spec, run in found:
        name = re.sub(r"\(.*\)", "", title(spec))
        row = rows.setdefault((named(spec.dataset), name), {"passes": "", "runs": []})
        row["passes"] = f"{sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs:.1f}"
        row["runs"].append(run)
    shown = [
        {"F an image and epoch": row["passes"], "seconds an epoch": seconds_an_epoch(row["runs"])}
        for row in rows.values()
    ]
    return pd.DataFrame(shown, index=pd.MultiIndex.from_tuples(list(rows), names=["data set", "method"]))
