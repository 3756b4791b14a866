r"""What the chapters ask for: their parameters, the runs and attacks behind each table, and the results as tables."""

from dataclasses import dataclass, fields

import pandas as pd
from scipy.stats import binomtest

from simadv import paper
from simadv.checks import InputError, number, one_of, whole
from simadv.runs import evaluate, load_or_run, passes, pick_device
from simadv.specs import DATASETS, EvalSpec, RunSpec, run_spec
from simadv.store import Run, Store, default

PROFILES = {"published": ("mnist", "fmnist", "cifar10"), "digits": ("digits",)}
NOT_RUN = "not run"

# The rows of Table 3, and the neighbours that say what SIM-Adv's own ideas add.
ROWS: tuple[tuple[str, dict], ...] = (
    ("vanilla", {}),
    ("fgsm", {}),
    ("free", {}),
    ("atda", {}),
    ("sim", {"reset": "cycle"}),
    ("sim", {"reset": "staggered"}),
    ("bim", {}),
    ("madry", {}),
)
# Section 6 trains at one rate and section 3 shows that it matters: both rates of Tables 1 and 4.
RATES = {"mnist": (1e-4, 1e-3), "fmnist": (1e-4, 1e-3), "cifar10": (0.1,), "digits": (1e-3,)}
ATTACKS = {
    "mnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "fmnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "cifar10": ("none", "FGSM", "BIM(4,20)", "Madry(4,20)"),
    "digits": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
}
# Where a data set needs other settings than the paper's: ATDA as its authors train it; digits within minutes.
EXCEPTIONS: dict[tuple[str, str], dict] = {
    ("cifar10", "atda"): {"optimizer": "adam", "lr": 1e-3, "schedule": "constant", "weight_decay": 0.0},
    ("digits", "bim"): {"n2": 15, "n1": 5},
    ("digits", "madry"): {"n2": 15, "n1": 5},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a chapter, checked.

    Args:
        profile: ``published`` reads the store and shows what is missing as not run; ``digits`` trains everything.
        dataset, method: one of the profile's, or ``all``. epochs, lr: 0 for the book's own.
        seed: of every run. train: train what the published store lacks too. device: see ``runs.pick_device``.
    """

    profile: str = "published"
    dataset: str = "all"
    method: str = "all"
    epochs: int = 0
    lr: float = 0.0
    seed: int = 0
    train: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        one_of("profile", self.profile, PROFILES)
        one_of("dataset", self.dataset, ("all", *DATASETS))
        one_of("method", self.method, ("all", *dict(ROWS)))
        whole("epochs", self.epochs, least=0)
        whole("seed", self.seed, least=0)
        number("lr", self.lr, least=0)
        if not isinstance(self.train, bool):
            raise InputError(f"train = {self.train!r} must be True or False")
        pick_device(self.device)

    @classmethod
    def check(cls, names: dict) -> "Settings":
        """Read a notebook's globals after its parameters cell: nothing else may be defined there yet.

        Raises:
            InputError: a name is no parameter (a misspelt ``-p``), or a value is of the wrong type or out of range.
        """
        plain = (str, int, float, bool, list, dict, tuple, type(None))
        hidden = {"In", "Out"}
        given = {k: v for k, v in names.items() if not k.startswith("_") and k not in hidden and isinstance(v, plain)}
        for name in given:
            one_of("parameter", name, [field.name for field in fields(cls)])
        return cls(**given)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets to show."""
        return PROFILES[self.profile] if self.dataset == "all" else (self.dataset,)


def evaluation_runs(settings: Settings) -> list[RunSpec]:
    """Return the runs of chapter 6 in the order of its tables."""
    specs = []
    for dataset in settings.datasets:
        for method, choice in ROWS:
            if settings.method not in ("all", method):
                continue
            changes = {"seed": settings.seed} | choice | EXCEPTIONS.get((dataset, method), {})
            if settings.epochs:
                changes["epochs"] = settings.epochs
            rates = (settings.lr,) if settings.lr else (changes.get("lr", rate) for rate in RATES[dataset])
            specs += [run_spec(dataset, method, **(changes | {"lr": rate})) for rate in rates]
    return list(dict.fromkeys(specs))


def evaluations(dataset: str) -> list[EvalSpec]:
    """Return what chapter 6 measures of each run: clean images and the attacks of Table 3."""
    return [EvalSpec(attack=attack) for attack in ATTACKS[dataset]]


def asked() -> dict[str, list[RunSpec]]:
    """Return every published run that a chapter asks for, by chapter, most valuable first."""
    return {"06_evaluation": evaluation_runs(Settings())}


def collect(settings: Settings, *, store: Store | None = None) -> list[tuple[RunSpec, Run | None]]:
    """Return the chapter's runs with what is stored of them; train those that are the reader's own.

    A published run that is missing stays None unless ``settings.train``; so does nothing that a reader changed.
    """
    store = store or default()
    published = set(asked()["06_evaluation"])
    found = []
    for spec in evaluation_runs(settings):
        wanted = settings.train or spec not in published
        run = load_or_run(spec, store=store, device=settings.device) if wanted else store.find(spec)
        for measure in evaluations(spec.dataset) if wanted else ():
            evaluate(run, measure, store=store, device=settings.device)
        found.append((spec, run))
    return found


def accuracies(found: list[tuple[RunSpec, Run | None]], *, store: Store | None = None) -> pd.DataFrame:
    """Return one row a run and attack: what was measured, its 95 % interval, and the paper's number.

    Columns: ``dataset, method, title, lr, attack, images, true, predicted, low, high, paper, run``; accuracies in
    percent, NaN where not run; ``low, high`` is the Wilson interval of ``true``: the spread of the test set alone.
    """
    store, rows = store or default(), []
    for spec, run in found:
        for measure in evaluations(spec.dataset):
            result = store.evaluation(run, measure) if run else None
            row = {"dataset": spec.dataset, "method": spec.method, "title": spec.title, "lr": spec.lr}
            row |= {"attack": "Original" if measure.attack == "none" else measure.attack}
            if result is not None:
                interval = binomtest(result["true"], result["images"]).proportion_ci(method="wilson")
                row |= {"images": result["images"], "low": 100 * interval.low, "high": 100 * interval.high}
                row |= {name: 100 * result[name] / result["images"] for name in ("true", "predicted")}
            row["paper"] = paper_value(spec, row["attack"])
            rows.append(row | {"run": spec.id})
    columns = [
        "dataset",
        "method",
        "title",
        "lr",
        "attack",
        "images",
        "true",
        "predicted",
        "low",
        "high",
        "paper",
        "run",
    ]
    return pd.DataFrame(rows).reindex(columns=columns)


def paper_value(spec: RunSpec, attack: str) -> float | None:
    """Return Table 3's accuracy for a run of the paper's method, or None where the paper has no such row."""
    if spec.reset == "staggered":
        return None
    return paper.TABLE3.get(spec.dataset, {}).get(attack, {}).get(spec.method)


def table3(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Table 3 of one data set as text: the paper's row of each method, then ours at each rate."""
    part = frame[frame.dataset == dataset]
    lines = []
    for title, rows in part.groupby("title", sort=False):
        attacks = list(dict.fromkeys(rows.attack))
        printed = rows.drop_duplicates("attack").set_index("attack").paper
        if printed.notna().any():
            lines.append({"method": title, "source": "paper"} | {a: f"{printed[a]:.2f}" for a in attacks})
        for lr, ours in rows.groupby("lr", sort=False):
            cells = {r.attack: f"{r.true:.2f}" if pd.notna(r.true) else NOT_RUN for r in ours.itertuples()}
            lines.append({"method": title, "source": f"ours, rate {lr:g}"} | cells)
    return pd.DataFrame(lines).set_index(["method", "source"])


def table_labels(frame: pd.DataFrame, dataset: str, attack: str) -> pd.DataFrame:
    """Return accuracy under true and predicted labels side by side, with the clean error and the paper's number."""
    part = frame[(frame.dataset == dataset) & frame.true.notna()]
    clean = part[part.attack == "Original"].set_index("run").true
    rows = part[part.attack == attack]
    table = pd.DataFrame(
        {
            "method": rows.title,
            "rate": rows.lr.map("{:g}".format),
            "clean error": 100 - rows.run.map(clean),
            "true labels": rows.true,
            "predicted labels": rows.predicted,
            "gain": rows.predicted - rows.true,
            "paper": rows.paper,
        }
    )
    table["gain / clean error"] = table["gain"] / table["clean error"]
    return table.set_index(["method", "rate"]).round(2)


def costs(found: list[tuple[RunSpec, Run | None]]) -> pd.DataFrame:
    """Return what each run costs: gradient passes an image in all, their ratio to SIM-Adv's, and the paper's.

    A forward pass counts 1 F, a backward pass to the weights 2 F (or to the input alone 1 F).
    """
    rows = []
    for spec, run in found:
        forward, backward = passes(spec)
        table5 = paper.TABLE5.get(spec.method, {}).get(spec.dataset) if spec.reset != "staggered" else None
        rows.append(
            {
                "dataset": spec.dataset,
                "method": spec.method,
                "title": spec.title,
                "lr": spec.lr,
                "forward": forward,
                "backward": backward,
                "seconds": run.cost["seconds"] if run else None,
                "device": run.provenance["device"] if run else None,
                "alone": run.provenance["alone"] if run else None,
                "paper_seconds": table5,
                "run": spec.id,
            }
        )
    return pd.DataFrame(rows)
