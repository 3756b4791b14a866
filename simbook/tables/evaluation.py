r"""The tables of chapter 6: stored results beside the paper's numbers."""

from collections.abc import Callable

import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import DATASETS, EvalSpec, RunSpec, run_spec
from simadv.store import Store, default
from simbook import paper
from simbook.chapters import evaluations
from simbook.tables.common import NAMES, NOT_RUN, Found, history, rate, seconds_an_epoch, share_of, title
from simbook.tables.spread import cells, counted, over_seeds

Measures = Callable[[RunSpec], list[EvalSpec]]
BY_RATE = {"sim": paper.TABLE4, "atda": paper.TABLE1}  # accuracies that the paper has by learning rate
COLUMNS = ["dataset", "method", "title", "lr", "seed", "attack", "images", "true", "predicted", "low", "high", "paper"]


def accuracies(found: Found, *, measures: Measures | None = None, store: Store | None = None) -> pd.DataFrame:
    """Return one row a run and attack: what was measured, its 95 % interval, and the paper's number.

    Columns: :data:`COLUMNS` and ``run``; accuracies in percent, NaN where not run; ``low, high`` is the Wilson interval
    of ``true``: the spread of the test set alone.

    Args:
        measures: which accuracies of a run; by default those of Table 3.
    """
    store, rows = store or default(), []
    for spec, run in found:
        for measure in measures(spec) if measures else evaluations(spec.dataset):
            result = store.evaluation(run, measure) if run else None
            row = {"dataset": spec.dataset, "method": spec.method, "title": title(spec), "lr": spec.lr}
            row |= {"attack": "Original" if measure.attack == "none" else measure.attack}
            row |= {"seed": spec.seed, "images": measure.images, "run": spec.id}
            row["paper"] = paper_value(spec, row["attack"])
            if result is not None:
                labels = [name for name in ("true", "predicted") if name in result]
                shares = {name: share_of(result[name], result["images"]) for name in labels}
                row |= {name: share for name, (share, _, _) in shares.items()}
                row |= {"images": result["images"], "low": shares["true"][1], "high": shares["true"][2]}
            rows.append(row)
    frame = pd.DataFrame(rows).reindex(columns=[*COLUMNS, "run"])
    numbers = ["lr", "images", "true", "predicted", "low", "high", "paper"]
    return frame.astype(dict.fromkeys(numbers, float))


def paper_value(spec: RunSpec, attack: str) -> float | None:
    """Return the paper's accuracy for a run of one of its methods, or None where it has no such row.

    That of Table 3, whose rates the paper does not say; where Table 4 (SIM-Adv) or Table 1 (ATDA) tell them apart, the
    number of the run's own rate.
    """
    usual = run_spec(spec.dataset, spec.method)
    if any(getattr(spec, name) != getattr(usual, name) for name in ("n1", "n2", "m", "reset", "projection")):
        return None
    if spec.images is not None or spec.model != DATASETS[spec.dataset]["model"]:
        return None
    by_rate = BY_RATE.get(spec.method, {}).get(spec.dataset, {}).get(spec.lr)
    if by_rate is None or _in_table3(spec.dataset, spec.method, by_rate):
        return paper.TABLE3.get(spec.dataset, {}).get(attack, {}).get(spec.method)
    return by_rate.get(attack)


def _in_table3(dataset: str, method: str, values: dict[str, float]) -> bool:
    """Return whether Table 3 has the same accuracies by attack, as far as it has these attacks."""
    row = {attack: of[method] for attack, of in paper.TABLE3[dataset].items() if attack in values}
    return all(values[attack] == value for attack, value in row.items())


def rate_of_table3(dataset: str) -> float | None:
    """Return the learning rate of SIM-Adv's row in Table 3: that of Table 4 with the same numbers; None if none has."""
    rates = paper.TABLE4.get(dataset, {})
    return next((lr for lr, values in rates.items() if _in_table3(dataset, "sim", values)), None)


# what stands beside the rows of Table 2 that are words: ours, and why
BESIDE = {
    "adversarial examples": ("the same, AutoAttack", "what withstands these may fall to others"),
    "Single-Adv": ("the same, FGSM-Adv", "what ATDA and SIM-Adv add to it; chapter 7 has more"),
    "Iter-Adv": ("the same", "-"),
    "metric": ("the same, gradient passes", "which are alike on every machine"),
}


def settings_compared() -> pd.DataFrame:
    """Return Table 2: the paper's settings, ours, and why they differ."""
    rows = [
        ("epsilon", "0.3, 0.2, 8/255", ", ".join(f"{DATASETS[d]['epsilon']:.4g}" for d in paper.DATASETS), "the same"),
        (
            "network",
            "LeNet; ResNet",
            "LeNet-5 (61,706 weights); ResNet-20",
            "sizes not stated: the cited LeNet; ResNet-20 by its clean accuracy",
        ),
        *((name, paper.TABLE2[name][paper.DATASETS[0]], own, why) for name, (own, why) in BESIDE.items()),
        ("epochs", "not stated", "60, 80, 200", "three of Table 5's four totals come to whole milliseconds an epoch"),
        (
            "optimiser",
            "learning rate e^-3 or e^-4, read as 1e-3 or 1e-4",
            "Adam, both rates; CIFAR10: SGD 0.1",
            "optimiser not stated",
        ),
        ("batch", "not stated", "128; ATDA 32", "ATDA as its authors have it"),
        ("precision", "not stated", "bf16 to train, float32 to measure", "half the time; accuracies are of float32"),
        ("loss", "original and adversarial examples", "mean of both halves", "as CleverHans' own training does"),
        (
            "labels in attacks",
            "ground truth (Eqs. 1-4)",
            "true; predicted beside it",
            "CleverHans' default is predicted",
        ),
        (
            "projection",
            "none printed (Eq. 3)",
            "onto the epsilon-ball",
            "as CleverHans does; else n2 > n1 leaves the ball",
        ),
        ("epoch reported", '"best performance"', "the last", "nothing is selected on the test set"),
        ("platform", "CleverHans, RTX 2070", "PyTorch, see the run card", "CleverHans 2.1 needs TensorFlow 1"),
    ]
    return pd.DataFrame(rows, columns=["setting", "the paper", "this book", "why"]).set_index("setting")


def table3(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Table 3 of one data set as text: the paper's row of each method, then ours at each rate.

    Where the paper tells rates apart (:func:`paper_value`), its row of each stands before ours. Ours are means with
    their standard deviation where there are seeds, and carry the test set's interval where not.
    """
    lines = []
    for name, rows in frame[frame.dataset == dataset].groupby("title", sort=False):
        printed = {
            lr: part.drop_duplicates("attack").set_index("attack").paper for lr, part in rows.groupby("lr", sort=False)
        }
        differ = any(not values.equals(next(iter(printed.values()))) for values in printed.values())
        for i, (lr, ours) in enumerate(over_seeds(rows).groupby("lr", sort=False)):
            if printed[lr].notna().any() and (differ or not i):
                of = f"paper, rate {rate(lr)}" if differ else "paper"
                known = {attack: "-" if pd.isna(value) else f"{value:.2f}" for attack, value in printed[lr].items()}
                lines.append({"method": name, "source": of} | known)
            if ours.true.notna().any():
                lines.append({"method": name, "source": f"ours, rate {rate(lr)}{counted(ours)}"} | cells(ours))
            elif (apart := differ or rows.true.notna().any()) or not i:
                of = f"ours, rate {rate(lr)}" if apart else "ours"
                lines.append({"method": name, "source": of} | dict.fromkeys(printed[lr].index, NOT_RUN))
    return pd.DataFrame(lines).set_index(["method", "source"])


def table4(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Table 4 of one data set as text: SIM-Adv at each of the paper's rates, the paper's row and ours."""
    lines = []
    rows = over_seeds(frame[(frame.dataset == dataset) & (frame.title == "SIM(10,20)-Adv")])
    for lr, printed in paper.TABLE4[dataset].items():
        ours = rows[(rows.lr == lr) & rows.attack.isin(printed)]
        lines.append({"rate": rate(lr), "source": "paper"} | {a: f"{v:.2f}" for a, v in printed.items()})
        lines.append(
            {"rate": rate(lr), "source": f"ours{counted(ours)}"} | dict.fromkeys(printed, NOT_RUN) | cells(ours)
        )
    return pd.DataFrame(lines).set_index(["rate", "source"])


def labels_compared(frame: pd.DataFrame, dataset: str, attack: str) -> pd.DataFrame:
    """Return accuracy under true and predicted labels side by side, with the clean error and the paper's number."""
    part = frame[(frame.dataset == dataset) & frame.true.notna()]
    clean = part[part.attack == "Original"].set_index("run").true
    rows = part[part.attack == attack]
    table = pd.DataFrame({"method": rows.title, "rate": rows.lr.map(rate)})
    table["clean error"] = 100 - rows.run.map(clean)
    table["true labels"], table["predicted labels"] = rows.true, rows.predicted
    table["gain"] = rows.predicted - rows.true
    table["gain / clean error"] = table["gain"] / table["clean error"]
    table["paper"] = rows.paper.map(lambda value: "-" if pd.isna(value) else f"{value:.2f}")
    return table.set_index(["method", "rate"]).round(2)


def curves(found: Found) -> dict[str, pd.DataFrame]:
    """Return what the monitor saw of SIM-Adv at each data set's highest stored rate: ``epoch, clean, robust``."""
    runs = [run for spec, run in found if run and spec.method == "sim" and spec.monitor]
    highest = {run.spec.dataset: max(r.spec.lr for r in runs if r.spec.dataset == run.spec.dataset) for run in runs}
    named = {
        f"{NAMES[run.spec.dataset]}: {title(run.spec)}": run for run in runs if run.spec.lr == highest[run.spec.dataset]
    }
    return {name: history(run) for name, run in named.items()}


def curve_rows(lines: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return :func:`curves` below each other, each under its ``run``."""
    return pd.concat([pd.DataFrame(columns=["run"]), *[line.assign(run=name) for name, line in lines.items()]])


def curve_facts(lines: dict[str, pd.DataFrame], *, epochs: tuple[int, ...], since: int) -> pd.DataFrame:
    """Return robust accuracy (%) after chosen epochs, and the lowest from epoch ``since`` on."""
    rows = {}
    for label, line in lines.items():
        seen = line.set_index("epoch").robust
        late = line[line.epoch >= since].robust
        rows[label] = {f"epoch {e}": f"{seen[e]:.1f}" if e in seen else "-" for e in epochs}
        rows[label][f"lowest from {since} on"] = f"{late.min():.1f}" if len(late) else "-"
    return pd.DataFrame(rows).T


def costs(found: Found) -> pd.DataFrame:
    """Return what an epoch costs: gradient passes an image, their ratio to SIM-Adv's, and both beside Table 5.

    One F is a forward pass; a backward pass to the input costs 1 F, and reaching the weights 1 F more.
    Seconds are those stored with the runs, and say little where the device was shared.
    """
    rows = {}
    for spec, run in found:
        row = rows.setdefault((NAMES[spec.dataset], title(spec)), {"runs": []})
        row["F"] = sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs
        row["paper"] = None if spec.reset == "staggered" else paper.TABLE5.get(spec.method, {}).get(spec.dataset)
        row["runs"].append(run)
    table = pd.DataFrame(rows).T.rename_axis(["data set", "method"])
    sim = {dataset: row for (dataset, name), row in rows.items() if name.startswith("SIM") and name.endswith("Adv")}
    table["F / SIM's F"] = [row["F"] / sim[d]["F"] if d in sim else None for (d, _), row in rows.items()]
    shown = pd.DataFrame(index=table.index)
    shown["F an image and epoch"] = [f"{row['F']:.1f}" for row in rows.values()]
    shown["of SIM's"] = [f"{value:.2f}" if pd.notna(value) else "-" for value in table["F / SIM's F"]]
    shown["seconds an epoch, ours"] = [seconds_an_epoch(row["runs"]) for row in rows.values()]
    shown["seconds in all, the paper"] = [
        "-" if row["paper"] is None else f"{row['paper']:.2f}" for row in rows.values()
    ]
    shown["of SIM's, the paper"] = [
        f"{row['paper'] / sim[d]['paper']:.2f}" if row["paper"] and d in sim and sim[d]["paper"] else "-"
        for (d, _), row in rows.items()
    ]
    return shown
