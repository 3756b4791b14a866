r"""The tables of chapter 3: ATDA's features, Table 1, and Fig. 2."""

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.store import Store, default
from simbook import paper
from simbook.chapters import ATTACKS, evaluations, standard
from simbook.tables import embedding
from simbook.tables.common import NAMES, NOT_RUN, Found, history, rate, share_of, title
from simbook.tables.embedding import Panels
from simbook.tables.survival import percent

BIM, MADRY = "BIM(30,30)", "Madry(30,30)"
LEAK = "FGSM - Original"  # above 0 where a net reads the label off the step
BLENDS = {"separable": "separable", "mixed": "mixed", "mixed in the figure": "mixed_seen", "at home": "at_home"}
LATE = 10  # epochs at the end of a run over which its training is summed up
# Fig. 1's panels a to e, by method and attack
FIG1 = (("vanilla", BIM), ("atda", BIM), ("atda", "FGSM"), ("bim", BIM), ("sim", BIM))


def by_eq_1(found: Found) -> Found:
    """Return the runs whose examples lead away from true labels: all but ATDA as published, which stands apart."""
    return [(spec, run) for spec, run in found if spec.labels != "predicted"]


def fig1(found: Found, dataset: str, *, store: Store | None = None) -> Panels:
    """Return the panels of Fig. 1 by title, in its order; ATDA at the highest of its rates, as in Table 3."""
    known = sorted(by_eq_1(found), key=lambda f: f[0].lr)
    runs = {spec.method: (spec, run) for spec, run in known if spec.dataset == dataset}
    panels: Panels = {}
    if "vanilla" not in runs:  # a data set of Table 1 that the figure does not show
        return panels
    for letter, (method, attack) in zip("abcde", FIG1, strict=True):
        if method in runs:
            spec, run = runs[method]
            panels[f"({letter}) {title(spec)}, {attack}"] = embedding.record(run, attack, store=store)
    return panels


def accuracies(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return one row a run of Table 1 or Fig. 2 and attack; accuracies in percent, NaN where not run.

    Columns: ``dataset, method, title, lr, lambda_, attack, images, true, predicted, low, high, paper``;
    ``low, high`` is the Wilson interval (95 %) of ``true``: the spread of the test set alone.
    """
    store, rows = store or default(), []
    for spec, run in by_eq_1(found):
        if spec.method not in ("atda", "bim-atda", "fgsm"):
            continue
        for measure in evaluations(spec.dataset, "FGSM", BIM, MADRY):
            row = {"dataset": spec.dataset, "method": spec.method, "title": title(spec), "lr": spec.lr}
            row |= {"lambda_": spec.lambda_, "attack": "Original" if measure.attack == "none" else measure.attack}
            if spec.method == "atda":
                row["paper"] = paper.TABLE1.get(spec.dataset, {}).get(spec.lr, {}).get(row["attack"])
            result = store.evaluation(run, measure) if run else None
            if result is not None:
                images = result["images"]
                shares = (*share_of(result["true"], images), share_of(result["predicted"], images)[0])
                row |= {"images": images} | dict(zip(("true", "low", "high", "predicted"), shares, strict=True))
            rows.append(row)
    numbers = ["images", "true", "predicted", "low", "high", "paper"]
    columns = ["dataset", "method", "title", "lr", "lambda_", "attack", *numbers]
    return pd.DataFrame(rows).reindex(columns=columns).astype(dict.fromkeys(["lr", "lambda_", *numbers], float))


def table1(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Table 1 of one data set as text: each rate's row of the paper, then ours under both labels.

    Below the lower rate's stands FGSM-Adv, which the paper compares with it in words (C3.10), and below the higher
    one's FGSM-Adv as ATDA is trained but for its loss (C3.11).
    """
    rows = frame[(frame.dataset == dataset) & frame.method.isin(["atda", "fgsm"])]
    lines = []
    sources = [("atda", "the paper", "paper"), ("atda", "ours, true labels", "true")]
    sources += [("atda", "ours, predicted labels", "predicted"), ("fgsm", "{}, true labels", "true")]
    for lr, of_rate in rows.sort_values("lr", ascending=False, kind="stable").groupby("lr", sort=False):
        for method, source, column in sources:
            part = of_rate[of_rate.method == method]
            if part.empty or (column == "paper" and part.paper.isna().all()):
                continue
            nothing = "-" if column == "paper" else NOT_RUN
            cells = {r.attack: f"{r[column]:.2f}" if pd.notna(r[column]) else nothing for _, r in part.iterrows()}
            lines.append({"rate": rate(lr), "source": source.format(part.title.iloc[0])} | cells)
    return pd.DataFrame(lines).set_index(["rate", "source"])


def training(found: Found) -> pd.DataFrame:
    """Return what was seen of ATDA's training after each epoch: ``label, dataset, lr, epoch, loss, clean, robust``."""
    frames = [pd.DataFrame(columns=["label", "dataset", "lr", "epoch", "loss", "clean", "robust"])]
    for spec, run in by_eq_1(found):
        if spec.method == "atda" and run is not None:
            about = {"label": f"{NAMES[spec.dataset]}, rate {rate(spec.lr)}", "dataset": spec.dataset, "lr": spec.lr}
            frames.append(history(run).assign(**about))
    return pd.concat([f for f in frames if len(f)] or frames, ignore_index=True).reindex(columns=frames[0].columns)


def training_facts(found: Found, dataset: str, *, late: int = LATE) -> pd.DataFrame:
    """Return the last ``late`` epochs of ATDA's training by rate, NaN where not run.

    Columns: ``loss``, the mean; ``robust, lowest, highest``: the monitor's last, lowest and highest accuracy;
    ``drift``: how far the loss fell or rose within these epochs, by a line.
    """
    seen, rows = training(found), {}
    for lr in sorted({spec.lr for spec, _ in found if (spec.method, spec.dataset) == ("atda", dataset)}, reverse=True):
        last = seen[(seen.dataset == dataset) & (seen.lr == lr)].tail(late)
        rows[lr] = {}
        if len(last):
            rows[lr] = {"loss": last.loss.mean(), "robust": last.robust.iloc[-1]}
            rows[lr] |= {"lowest": last.robust.min(), "highest": last.robust.max()}
            rows[lr]["drift"] = slope(last.loss) * len(last)
    columns = ["loss", "robust", "lowest", "highest", "drift"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def slope(values: pd.Series) -> float:
    """Return how much values rise from one to the next, by a line through them; 0 for a single one."""
    return float(np.polyfit(range(len(values)), values, 1)[0]) if len(values) > 1 else 0.0


def swept(frame: pd.DataFrame) -> pd.DataFrame:
    """Return Fig. 2's points: ``dataset, title, lambda_, attack, true, low, high, predicted`` of what was run."""
    rows = frame[(frame.method == "bim-atda") & frame.attack.isin([BIM, MADRY]) & frame.true.notna()]
    columns = ["dataset", "title", "lambda_", "attack", "true", "low", "high", "predicted"]
    return rows[columns].sort_values(["attack", "lambda_"], kind="stable", ignore_index=True)


def by_lambda(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Fig. 2 of one data set as text: accuracy (%) under true labels by lambda and attack.

    Where none of the nets was trained, one row says so for all.
    """
    rows = frame[(frame.dataset == dataset) & (frame.method == "bim-atda")]
    shown = rows.assign(text=[NOT_RUN if pd.isna(value) else f"{value:.2f}" for value in rows.true])
    table = shown.pivot(index="lambda_", columns="attack", values="text")[list(rows.attack.unique())]
    names = [f"{value:.3g}" for value in table.index]
    if rows.true.isna().all():
        table, names = table[:1], [f"all {len(names)} from {names[0]} to {names[-1]}"]
    return table.set_axis(names).rename_axis("lambda").rename_axis(columns=None)


def longer_steps(found: Found, dataset: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return ATDA's accuracy (%) under 30 steps of epsilon/30 beside that under 40 steps of epsilon/10, as text.

    The paper's Table 3 does not name its rate; the row goes to the rate whose accuracy under FGSM is the same.
    """
    store, lines = store or default(), []
    attacks = (BIM, "BIM(10,40)", MADRY, "Madry(10,40)")
    for spec, run in sorted(by_eq_1(found), key=lambda f: -f[0].lr):
        if (spec.method, spec.dataset) != ("atda", dataset):
            continue
        printed = dict(paper.TABLE1.get(dataset, {}).get(spec.lr, {}))
        section6 = {attack: row["atda"] for attack, row in paper.TABLE3.get(dataset, {}).items()}
        if printed and printed["FGSM"] == section6["FGSM"]:
            printed = section6 | printed
        results = {m.attack: store.evaluation(run, m) if run else None for m in evaluations(dataset, *attacks)}
        ours = {attack: 100 * r["true"] / r["images"] for attack, r in results.items() if r}
        for source, row, nothing in (("the paper", printed, "-"), ("ours, true labels", ours, NOT_RUN)):
            if printed or source != "the paper":
                cells = {attack: f"{row[attack]:.2f}" if attack in row else nothing for attack in attacks}
                lines.append({"rate": rate(spec.lr), "source": source} | cells)
    return pd.DataFrame(lines).set_index(["rate", "source"])


def labels(found: Found, dataset: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return ATDA's accuracy (%, true labels) trained by Eq. 1 and as published, at the higher rate: a row each.

    Columns: the attacks, AutoAttack (on a slice) where it is asked for, ``FGSM - Original``, which is above 0 only
    where a net reads the label off the step; NaN where not run.
    """
    store = store or default()
    of = [(spec, run) for spec, run in found if (spec.method, spec.dataset) == ("atda", dataset)]
    rate = max(spec.lr for spec, _ in of)
    attacks = dict.fromkeys((*ATTACKS[dataset][1:], BIM, MADRY))
    measures = [*evaluations(dataset, *attacks), *standard(dataset)]
    rows = {}
    for spec, run in of:
        if spec.lr == rate:
            name = "the net's own answer, as published" if spec.labels == "predicted" else "the true label, Eq. 1"
            rows[name] = {m.attack.replace("none", "Original"): percent(run, m, store) for m in measures}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("FGSM leads away from")
    return table.assign(**{LEAK: table["FGSM"] - table["Original"]})


def labels_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`labels` as text to read, a column a net."""
    text = table.map(lambda value: NOT_RUN if pd.isna(value) else f"{value:.2f}")
    return text.T.rename_axis(index="test accuracy (%)", columns=None)


def costs(found: Found) -> pd.DataFrame:
    """Return what the chapter's methods cost: gradient passes an image and epoch, runs stored, and their hours."""
    rows: dict[tuple, dict] = {}
    datasets = [spec.dataset for spec, _ in found]
    for spec, run in sorted(found, key=lambda f: datasets.index(f[0].dataset)):
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {"F an image and epoch": 0, "runs": [], "hours": 0.0})
        row["F an image and epoch"] = sum(passes_per_image(spec))
        row["runs"].append(run is not None)
        row["hours"] += run.cost["seconds"] / 3600 if run else 0
    index = pd.MultiIndex.from_tuples(list(rows), names=["data set", "method"]) if rows else None
    table = pd.DataFrame(list(rows.values()), index=index, columns=["F an image and epoch", "runs", "hours"])
    table["runs"] = [f"{sum(there)} of {len(there)}" for there in table.runs]
    table["hours"] = [f"{hours:.2f}" for hours in table.hours]
    return table
