r"""What the chapters ask for: their parameters, and the runs and attacks behind each table."""

from dataclasses import dataclass, fields

from simadv.checks import InputError, number, one_of, whole
from simadv.runs import evaluate, load_or_run, pick_device
from simadv.specs import DATASETS, EvalSpec, RunSpec, run_spec
from simadv.store import Run, Store, default

PROFILES = {"published": ("mnist", "fmnist", "cifar10"), "digits": ("digits",)}

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
RATES = {"mnist": (1e-4, 1e-3), "fmnist": (1e-4, 1e-3), "cifar10": (0.1,), "digits": (5e-3,)}
ATTACKS = {
    "mnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "fmnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "cifar10": ("none", "FGSM", "BIM(4,20)", "Madry(4,20)"),
    "digits": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
}
# Where a data set needs other settings than the paper's: ATDA as its authors train it; digits within minutes.
EXCEPTIONS: dict[tuple[str, str], dict] = {
    ("cifar10", "atda"): {"optimizer": "adam", "lr": 1e-3, "schedule": "constant", "weight_decay": 0.0},
    ("digits", "vanilla"): {"monitor": None},
    ("digits", "fgsm"): {"monitor": None},
    ("digits", "free"): {"monitor": None},
    ("digits", "atda"): {"monitor": None, "batch_size": 64},
    ("digits", "sim"): {"n1": 3},
    ("digits", "bim"): {"monitor": None, "n1": 2, "n2": 5, "epochs": 20},
    ("digits", "madry"): {"monitor": None, "n1": 2, "n2": 5, "epochs": 20},
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a chapter, checked.

    Args:
        profile: ``published`` reads the store and shows what is missing as not run; ``digits`` trains everything.
        dataset, method: one of the profile's, or ``all``.
        epochs, lr: 0 for the book's own.
        seed: of every run.
        train: train what the published store lacks too.
        device: see ``runs.pick_device``.
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
