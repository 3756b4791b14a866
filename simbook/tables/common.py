r"""What the tables of all chapters share: names of runs, the run card, links to data."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, Markdown
from scipy.stats import binomtest

from simadv.specs import DATASETS, RunSpec
from simadv.store import Run

NOTHING = "None of these runs was made yet, so nothing was found."
NOT_RUN = "not run"
PLAIN = ",;:/()*+="  # needs no escape in a link, beyond letters and digits
NAMES = {"mnist": "MNIST", "fmnist": "FMNIST", "cifar10": "CIFAR10", "digits": "digits"}
Found = list[tuple[RunSpec, Run | None]]


def named(dataset: str) -> str:
    """Return a data set's name as the paper writes it; what is none, a problem on the plane, keeps its own."""
    return NAMES.get(dataset, dataset)


def title(spec: RunSpec) -> str:
    """Return the method of a run as the paper writes it, ``SIM(10,20)-Adv``, and what else tells it apart.

    Without a reset n2 means nothing and is left out: ``SIM(10)-Adv, no reset``. ATTA-1 and FGSM-MEP stand as published.
    """
    never = spec.reset == "never"
    steps = "" if spec.n1 is None else f"({spec.n1:g})" if never else f"({spec.n1:g},{spec.n2})"
    names = {"vanilla": "Vanilla", "fgsm": "FGSM-Adv", "rfgsm": "R+FGSM-Adv", "atda": "ATDA"}
    names |= {"bim": f"BIM{steps}-Adv", "madry": f"Madry{steps}-Adv", "bim-atda": f"BIM{steps}-Adv + DA"}
    names |= {"free": f"Free-Adv({spec.m})", "sim": f"SIM{steps}-Adv", "sim-k": f"SIM{steps}-Adv, k = {spec.k}"}
    names |= {"free-sim": f"free-SIM{steps}", "atta": f"ATTA-1({spec.n1 or 0:g})", "mep": "FGSM-MEP"}
    names |= {"rs-fgsm": "RS-FGSM", "n-fgsm": "N-FGSM"}
    kind = [spec.reset] if spec.reset in ("staggered", "random") else []
    kind += ["literal"] if spec.projection == "literal" else []
    more = ["no reset"] if never and spec.method != "atta" else []
    if spec.method == "free-sim":
        more += [f"momentum {spec.momentum:g}"] if spec.momentum else []
        more += [f"fresh every {spec.fresh:g}"] if spec.fresh else []
    if spec.method == "fgsm" and spec.batch_size != DATASETS[spec.dataset].get("batch_size", RunSpec.batch_size):
        more.append(f"batches of {spec.batch_size}")
    more += ["predicted labels"] if spec.labels == "predicted" else []
    more += [] if spec.model == DATASETS[spec.dataset]["model"] else [spec.model]
    more += [f"{spec.images:,} images", f"{spec.epochs} epochs"] if spec.images is not None else []
    return ", ".join([" ".join([names[spec.method], *kind]), *more])


def among(found: Found, specs: Iterable[RunSpec]) -> Found:
    """Return those of the runs that are of ``specs``, in the order of these."""
    runs = dict(found)
    return [(spec, runs[spec]) for spec in specs if spec in runs]


def by_setting(found: Found) -> list[Found]:
    """Return the runs of each setting together, one a seed."""
    groups: dict[RunSpec, Found] = {}
    for spec, run in found:
        groups.setdefault(replace(spec, seed=0), []).append((spec, run))
    return list(groups.values())


def leading(found: Found) -> Found:
    """Return the first seed of each setting: the one whose weights are there to be tested further."""
    return [group[0] for group in by_setting(found)]


def history(run: Run) -> pd.DataFrame:
    """Return what is stored of a run after each epoch, the first of which is 1: ``loss``, and what its monitor saw."""
    return pd.DataFrame(run.history).assign(epoch=lambda seen: seen.epoch + 1)


def rate(lr: float) -> str:
    """Return a learning rate as the book writes it: ``1e-4``, ``0.1``."""
    return f"{lr:g}" if lr >= 0.01 else np.format_float_scientific(lr, trim="-", exp_digits=1)


def share_of(count: int, images: int) -> tuple[float, float, float]:
    """Return a share in percent with Wilson's 95 % interval."""
    if not images:
        return (float("nan"),) * 3
    interval = binomtest(int(count), int(images)).proportion_ci(method="wilson")
    return 100 * count / images, 100 * interval.low, 100 * interval.high


def seconds_an_epoch(runs: Iterable[Run | None]) -> str:
    """Return what an epoch of these runs took in seconds, the least to the most; *shared* beside other work."""
    seconds: dict[str, list[float]] = {"": [], " (shared)": []}
    for run in runs:
        if run is not None:
            seconds["" if run.provenance["alone"] else " (shared)"].append(run.cost["seconds"] / run.spec.epochs)
    ends = {how: dict.fromkeys((f"{min(some):.1f}", f"{max(some):.1f}")) for how, some in seconds.items() if some}
    return "; ".join(" to ".join(texts) + how for how, texts in ends.items()) or NOT_RUN


def run_card(found: Found) -> pd.Series:
    """Return where the numbers of a chapter come from: how many runs are stored, and of these all else."""
    asked, found = len(found), [(spec, run) for spec, run in found if run is not None]
    runs = [run for _, run in found]

    def of_all(name: str) -> list[str]:
        return sorted({str(run.provenance[name]) for run in runs}) or ["-"]

    card = {"runs stored": f"{len(runs)} of {asked}"}
    for name, attribute in (
        ("seeds", "seed"),
        ("net", "model"),
        ("epochs", "epochs"),
        ("optimiser", "optimizer"),
        ("batch", "batch_size"),
    ):
        card[name] = ", ".join(map(str, sorted({getattr(s, attribute) for s, _ in found}))) or "-"
    card["learning rates"] = ", ".join(rate(lr) for lr in sorted({s.lr for s, _ in found})) or "-"
    card["precision of training"] = ", ".join(sorted({s.precision for s, _ in found})) or "-"
    card |= {"training, hours in all": f"{sum(run.cost['seconds'] for run in runs) / 3600:.2f}"}
    card |= {name: "; ".join(of_all(name)) for name in ("device", "threads", "torch")}  # a device's name has commas
    dates, commits = of_all("date"), sorted({short(run.provenance["commit"]) for run in runs}) or ["-"]
    card["date"] = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    card["commit"] = ", ".join(commits) if len(commits) < 4 else f"{len(commits)} of them, each in its run's run.json"
    return pd.Series(card, name="run card").to_frame()


def short(commit: str) -> str:
    """Return the beginning of a commit, with a ``+`` where the files were not quite its own."""
    return commit[:10] + "+" * ("+" in commit)


def download(frame: pd.DataFrame, name: str) -> HTML:
    """Return a link that saves the data of a figure as ``name.csv``; the data are inside the page."""
    return HTML(link(frame.to_csv(index=False, float_format="%.6g"), name, "the data of this figure"))


def heading(dataset: str, what: str = "", *, below: str = "") -> Markdown:
    """Return a data set's name in bold, what of it follows, and the text below it."""
    return Markdown(f"**{NAMES[dataset]}**" + (f", {what}" if what else "") + (f"\n\n{below}" if below else ""))


def joined(items: Sequence[str]) -> str:
    """Return items as words: ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def listed(sentences: list[str]) -> str:
    """Return sentences as a Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences) or NOTHING


def in_markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown: its first column to the left, the others, which are numbers, to the right."""
    aligned = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, aligned, *lines])


def link_tables() -> None:
    """Put such a link under every table that this notebook shows from now on."""
    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, linked)


def linked(table: pd.DataFrame) -> str:
    """Return a table as HTML, whole, with a link that saves it; the file's name is of its contents.

    The labels of rows stand under heads of their own, and are left out where they are those of the row above.
    """
    text = table.to_csv(float_format="%.6g")
    name = f"table-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    shown = (
        table
        if isinstance(table.index, pd.RangeIndex)
        else pd.concat([_labels(table.index), table.reset_index(drop=True)], axis=1)
    )
    with pd.option_context("display.max_colwidth", None):
        return shown.to_html(index=False, justify="left", border=0) + link(text, name, "this table")


def _labels(index: pd.Index) -> pd.DataFrame:
    """Return the labels of rows as columns; all but a row's last are left out where the row above has the same."""
    keys = [key if isinstance(key, tuple) else (key,) for key in index]
    cells = [
        ["" if key[: i + 1] == above[: i + 1] and i < len(key) - 1 else label for i, label in enumerate(key)]
        for above, key in zip([(), *keys], keys, strict=False)
    ]
    return pd.DataFrame(cells, columns=[label or "" for label in index.names])


def link(text: str, name: str, what: str) -> str:
    """Return a link that saves a text as ``name.csv``; the text is inside the page.

    It is escaped, not in base64: so git and gzip see the rows, and a new edition of a chapter keeps those that did not
    change.
    """
    data = f"data:text/csv;charset=utf-8,{quote(text, safe=PLAIN)}"
    return f'<a download="{name}.csv" href="{data}" style="font-size: 0.85em; color: inherit">Download {what} (CSV)</a>'
