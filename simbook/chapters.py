r"""What each chapter asks for: its runs and what is measured of them, in the order of their worth."""

import time
import warnings
from collections.abc import Callable
from dataclasses import fields, replace

from simadv.checks import InputError
from simadv.runs import Unfinished, load_or_run, pick_device
from simadv.specs import EvalSpec, RunSpec, run_spec
from simadv.store import Run, Store, default
from simbook.measures.autoattack import AutoAttack
from simbook.measures.base import Measure, take
from simbook.measures.curves import Intermediate, Saturation
from simbook.measures.embedding import Embedding
from simbook.measures.gallery import Climb, Gallery
from simbook.measures.survival import Signs, Transfer
from simbook.measures.watched import Staleness, Strength
from simbook.settings import ROWS, EvaluationSettings, Settings

Asked = dict[RunSpec, list[Measure | EvalSpec]]

# Section 6 trains at one rate and section 3 shows that it matters: both rates of Tables 1 and 4.
RATES = {"mnist": (1e-4, 1e-3), "fmnist": (1e-4, 1e-3), "cifar10": (0.1,), "digits": (5e-3,)}
ATTACKS = {
    "mnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "fmnist": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
    "cifar10": ("none", "FGSM", "BIM(4,20)", "Madry(4,20)"),
    "digits": ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"),
}
# Where a data set needs other settings than the paper's: ATDA as its authors train it; digits within minutes.
_FEW_STEPS = {"monitor": None, "n1": 2, "n2": 5, "epochs": 12}
_WATCHED = {"monitor_images": 100}  # watching SIM-Adv with the usual 200 would take twice the time of its training
EXCEPTIONS: dict[tuple[str, str], dict] = {
    ("cifar10", "atda"): {"optimizer": "adam", "lr": 1e-3, "schedule": "constant", "weight_decay": 0.0},
    ("digits", "vanilla"): {"monitor": None},
    ("digits", "fgsm"): {"monitor": None},
    ("digits", "free"): _WATCHED,
    ("digits", "atda"): _WATCHED | {"batch_size": 64},
    ("digits", "sim"): _WATCHED | {"n1": 3},
    ("digits", "bim"): _FEW_STEPS,
    ("digits", "madry"): _FEW_STEPS,
    ("digits", "bim-atda"): _FEW_STEPS | {"n1": 5, "batch_size": 64},
}
# Seconds kept free at the least for a measure before a deadline.
A_MEASURE = 60.0
# The paper's own analyses are on these; digits stand in for them.
GREY = ("mnist", "fmnist", "digits")
# Whom to trust: Madry's attack from ten points, in 50 steps that reach 2.5 epsilon, on a slice that a CPU can afford.
STRONGER, SLICE = "Madry(20,50)x10", {"digits": 60}
HARDER = (STRONGER, "AutoAttack")  # than those of Table 3
# Other seeds of the rows of Table 3, none of their weights published: SIM-Adv's first, then by what they cost.
SEEDS, REPEATED = (1, 2), ("sim", "vanilla", "free", "atda", "bim", "madry")
# What a CPU can do of CIFAR-10: few images, few epochs, and a slice of the test set. Never the paper's rows.
SHORT = {"epochs": 20, "images": 20_000, "monitor_images": 200}
SHORT_SLICE = 2000
# Fig. 2: the weight of ATDA's loss, from none past its authors' 1/3. Fig. 7: n1 of Madry(n1,30)-Adv.
LAMBDAS = {"digits": (0.0, 0.15, 0.4)}
N1 = {"digits": (5, 2)}
# C4.4: the n of BIM(n,n) that nets are trained with
TRAINED_WITH = (1, 5, 30)
# Section 4 says no rate: its nets are at the data set's own, but on Fashion-MNIST, where BIM-Adv was first trained at
# the other.
SECTION_4 = {"fmnist": {"lr": 1e-3}}
# Chapter 7 in the order of its worth: no reset and few steps to epsilon, no attack pass, resets, neighbours at their
# own settings, more steps an epoch, Eq. 15 as printed, how often to reset.
_NEVER = {"reset": "never"}
OF_THE_PAPER: tuple[tuple[str, dict], ...] = (
    ("vanilla", {}),
    ("sim", {}),
    ("sim", {"reset": "staggered"}),
    ("free", {}),
    ("bim", {}),
)
BEYOND: tuple[tuple[str, dict], ...] = (
    ("sim", _NEVER | {"n1": 3}),
    ("sim", _NEVER),
    ("free-sim", _NEVER | {"n1": 3}),
    ("sim", {"n1": 3, "reset": "staggered"}),
    ("atta", _NEVER | {"n1": 3}),
    ("sim", {"reset": "random"}),
    ("bim", {"n1": 3, "n2": 5}),
    ("mep", {}),
    ("rs-fgsm", {}),
    ("sim", _NEVER | {"n1": 2}),
    ("free-sim", _NEVER | {"n1": 5}),
    ("n-fgsm", {}),
    ("sim-k", _NEVER | {"k": 2}),
    ("sim", {"projection": "literal"}),
    ("free-sim", _NEVER),
    ("free-sim", _NEVER | {"n1": 3, "fresh": 5}),
    ("free-sim", _NEVER | {"n1": 2}),
    ("sim", _NEVER | {"n1": 5}),
    ("atta", {}),
    ("free-sim", _NEVER | {"n1": 3, "momentum": 0.3}),
    ("free-sim", {"n1": 3, "reset": "staggered"}),
    ("sim-k", _NEVER | {"k": 3}),
    ("sim", {"n1": 5, "n2": 10}),
)
# Nets that are small enough to come with the book, seed 0 alone; and how many of the above do, since room is short.
SHIPPED = ("lenet", "resnet20")
WEIGHTS = {"mnist": 22, "fmnist": 7}
# AutoAttack is run on other seeds of what it ranks first on Fashion-MNIST, since the best of many may be luck, and
# there of SIM-Adv that it alone finds weak, and of what that is compared with.
_RANKED_FIRST = ("sim", {"n1": 5, "n2": 10})
AGAIN: dict[str, tuple[tuple[str, dict], ...]] = {
    "mnist": (_RANKED_FIRST,),
    "fmnist": (
        _RANKED_FIRST,
        ("sim", {}),
        ("sim", _NEVER),
        ("sim", _NEVER | {"n1": 5}),
        ("sim", _NEVER | {"n1": 3}),
        ("sim", {"reset": "staggered"}),
        ("sim-k", _NEVER | {"k": 2}),
    ),
}
BEYOND_DIGITS: tuple[tuple[str, dict], ...] = (
    ("sim", _NEVER),
    ("free-sim", _NEVER | {"n1": 3}),
    ("sim-k", _NEVER | {"n1": 3}),
    ("mep", {"lambda_": 1}),
    ("sim", {"projection": "literal"}),
    ("sim", {"reset": "random"}),
    ("rs-fgsm", {}),
    ("n-fgsm", {}),
    ("atta", {"n1": 3}),
)


def evaluations(dataset: str, *attacks: str, images: int | None = None) -> list[EvalSpec]:
    """Return accuracy on clean images and under ``attacks``; by default, those of Table 3."""
    return [EvalSpec(attack=attack, images=images) for attack in (("none", *attacks) if attacks else ATTACKS[dataset])]


def stronger(dataset: str) -> list[Measure | EvalSpec]:
    """Return accuracy under Table 3's last attack, :data:`STRONGER` and AutoAttack, on one slice of the test set."""
    images = SLICE.get(dataset, 1000)
    known = [EvalSpec(attack=attack, images=images) for attack in (ATTACKS[dataset][-1], STRONGER)]
    return known + standard(dataset)


def standard(dataset: str) -> list[Measure | EvalSpec]:
    """Return AutoAttack on the slice; not on the digits, which are there to be trained and measured in minutes."""
    return [] if dataset == "digits" else [AutoAttack(images=SLICE.get(dataset, 1000))]


def spec_of(settings: Settings, dataset: str, method: str, **choice) -> RunSpec:
    """Return a run of ``method``: the book's settings, the data set's exceptions, the reader's, then ``choice``."""
    exceptions = EXCEPTIONS.get((dataset, method), {})
    own = {"epochs": settings.epochs} if settings.epochs else {}
    return run_spec(dataset, method, **({"seed": settings.seed} | exceptions | own | choice))


def both_rates(settings: Settings, dataset: str, method: str, **choice) -> list[RunSpec]:
    """Return a run at each of the data set's rates, or at the one that the method must have there."""
    fixed = EXCEPTIONS.get((dataset, method), {}).get("lr")
    rates = RATES[dataset] if fixed is None else (fixed,)
    return [spec_of(settings, dataset, method, **(choice | {"lr": rate})) for rate in rates]


def background(settings: Settings) -> Asked:
    """Return chapter 2's: an undefended net under the four attacks, and SIM-Adv's under the longest of them."""
    asked: Asked = {
        spec_of(settings, dataset, "vanilla"): [Gallery(), Climb(), *evaluations(dataset)]
        for dataset in settings.datasets
    }
    return asked | {spec_of(settings, dataset, "sim"): [Climb()] for dataset in settings.datasets}


def atda(settings: Settings) -> Asked:
    """Return chapter 3's: Fig. 1 on MNIST, Table 1, ATDA without its loss, and as published, Fig. 2."""
    asked: Asked = {}
    iterated = evaluations("mnist", "FGSM", "BIM(30,30)", "Madry(30,30)")
    grey = [dataset for dataset in settings.datasets if dataset in GREY]
    for dataset in grey:
        for spec in table1_runs(settings, dataset):
            asked[spec] = list(dict.fromkeys(iterated + evaluations(dataset)))
        asked[single_step(settings, dataset)] = list(iterated)
        alone = unadapted(settings, dataset)
        asked[alone] = list(dict.fromkeys(iterated + evaluations(dataset))) + further(alone, settings)
    for dataset in [dataset for dataset in grey if dataset != "fmnist"]:
        # every net at Table 3's rate, so ATDA at its authors' 1e-3
        for spec in fig1_runs(settings, dataset):
            attacks = ("BIM(30,30)", "FGSM") if spec.method == "atda" else ("BIM(30,30)",)
            asked[spec] = asked.get(spec, []) + [Embedding(attack=attack) for attack in attacks]
    for dataset in grey:
        spec = as_published(settings, dataset)
        asked[spec] = list(dict.fromkeys(iterated + evaluations(dataset))) + further(spec, settings)
    for dataset in grey:
        for spec in fig2_runs(settings, dataset):
            asked[spec] = list(iterated)
    return asked


def as_published(settings: Settings, dataset: str) -> RunSpec:
    """Return ATDA as its authors' code trains it: on FGSM away from the net's own answer, not from the true label."""
    return replace(both_rates(settings, dataset, "atda")[-1], labels="predicted")


def table1_runs(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return ATDA at both rates of Table 1; on the digits, where all else has one, at a tenth of that as well."""
    runs = both_rates(settings, dataset, "atda")
    return [spec_of(settings, dataset, "atda", lr=5e-4), *runs] if dataset == "digits" else runs


def single_step(settings: Settings, dataset: str) -> RunSpec:
    """Return FGSM-Adv at the lower rate of Table 1, which ATDA is compared with there."""
    return spec_of(settings, dataset, "fgsm", lr=min(spec.lr for spec in table1_runs(settings, dataset)))


def unadapted(settings: Settings, dataset: str) -> RunSpec:
    """Return FGSM-Adv at ATDA's own rate and in its batches: ATDA without its loss."""
    adapted = both_rates(settings, dataset, "atda")[-1]
    return spec_of(settings, dataset, "fgsm", lr=adapted.lr, batch_size=adapted.batch_size)


def fig1_runs(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return the nets of Fig. 1 in its order: Vanilla, ATDA, BIM(30,30)-Adv, SIM(10,20)-Adv."""
    steps = {"n1": 5, "n2": 5} if dataset == "digits" else {"n1": 30, "n2": 30}
    vanilla = spec_of(settings, dataset, "vanilla")
    adapted = both_rates(settings, dataset, "atda")[-1]
    return [vanilla, adapted, spec_of(settings, dataset, "bim", **steps), spec_of(settings, dataset, "sim")]


def fig2_runs(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return BIM(30,30)-Adv with ATDA's loss at each lambda of Fig. 2, trained as ATDA is."""
    sweep = LAMBDAS.get(dataset, (0.0, 0.05, 0.1, 0.15, 0.2, 1 / 3, 0.4))
    rate, batch = RATES[dataset][-1], 64 if dataset == "digits" else 32
    steps = {} if dataset == "digits" else {"n1": 30, "n2": 30}
    fixed = {"lr": rate, "batch_size": batch} | steps
    return [spec_of(settings, dataset, "bim-atda", lambda_=value, **fixed) for value in sweep]


def per_step(settings: Settings) -> list[RunSpec]:
    """Return the six nets of section 4: Vanilla and BIM-Adv on each data set."""
    return [of_section_4(settings, dataset, method) for dataset in settings.datasets for method in ("vanilla", "bim")]


def of_section_4(settings: Settings, dataset: str, method: str, **steps) -> RunSpec:
    """Return a net at the rate that section 4's have on a data set."""
    return spec_of(settings, dataset, method, **(SECTION_4.get(dataset, {}) | steps))


def saturation(settings: Settings) -> Asked:
    """Return chapter 4.1's: Fig. 3, and what came of training with BIM(n,n), the cheapest first."""
    asked: Asked = {spec: [Saturation()] for spec in per_step(settings)}
    trained = [trained_with(n, settings, dataset) for n in TRAINED_WITH for dataset in settings.datasets]
    return asked | {spec: evaluations(spec.dataset) + further(spec, settings) for spec in trained}


def trained_with(n: int, settings: Settings, dataset: str) -> RunSpec:
    """Return the net trained on BIM(n,n) examples as every net of section 4 is; BIM(1,1) is FGSM."""
    steps = {} if n == 1 else {"n1": n, "n2": n}
    return of_section_4(settings, dataset, "bim" if steps else "fgsm", **steps)


def intermediate(settings: Settings) -> Asked:
    """Return chapter 4.2's: Fig. 4, with n1 = 7 on CIFAR-10."""
    attacks = {spec: "BIM(7,30)" if spec.dataset == "cifar10" else "BIM(10,30)" for spec in per_step(settings)}
    return {spec: [Intermediate(attack=attack)] for spec, attack in attacks.items()}


def sim_adv(settings: Settings) -> Asked:
    """Return chapter 5's: over-perturbation, the saw-tooth, Free-Adv's features, and Fig. 7."""
    asked: Asked = {}
    grey = [dataset for dataset in settings.datasets if dataset in GREY]
    for dataset in grey:
        for spec in over_perturbed(settings, dataset):
            asked[spec] = evaluations(dataset) + further(spec, settings)
        for reset in ("cycle", "staggered"):
            asked |= {spec: evaluations(dataset) for spec in both_rates(settings, dataset, "sim", reset=reset)}
    for dataset in [dataset for dataset in grey if dataset != "fmnist"]:
        free = [Embedding(attack=attack) for attack in ("BIM(30,30)", "FGSM")]
        asked[spec_of(settings, dataset, "free")] = free + evaluations(dataset)
        asked[spec_of(settings, dataset, "sim")] += [Embedding(attack=attack) for attack in ("BIM(30,30)", "FGSM")]
    for dataset in grey:
        asked |= {spec: evaluations(dataset) for spec in fig7_runs(settings, dataset)}
    return asked


def over_perturbed(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return SIM(n1,n1)-Adv and SIM(n1,2 n1)-Adv, section 5.2: without and with over-perturbation."""
    if dataset == "digits":
        return [spec_of(settings, dataset, "sim", n1=n1) for n1 in (20, 3)]
    return [spec_of(settings, dataset, "sim", n2=n2) for n2 in (10, 20)]


def fig7_runs(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return Madry(n1,30)-Adv with n1 from 30 down to 10."""
    return [spec_of(settings, dataset, "madry", n1=n1) for n1 in N1.get(dataset, (30, 25, 20, 15, 10))]


def beyond_runs(settings: Settings, dataset: str) -> list[RunSpec]:
    """Return the runs of chapter 7 at the higher rate: what the paper's chapters trained, then what they did not."""
    return chosen(settings, dataset, OF_THE_PAPER + (BEYOND_DIGITS if dataset == "digits" else BEYOND))


def chosen(settings: Settings, dataset: str, choices: tuple[tuple[str, dict], ...]) -> list[RunSpec]:
    """Return a run of each of chapter 7's choices at the higher rate."""
    rate = {"lr": RATES[dataset][-1]}
    return [spec_of(settings, dataset, method, **(choice | rate)) for method, choice in choices]


def without_weights() -> list[RunSpec]:
    """Return the runs at seed 0 whose weights are too many for the published store."""
    shipped = {name: len(OF_THE_PAPER) + most for name, most in WEIGHTS.items()}
    return [spec for name, first in shipped.items() for spec in beyond_runs(Settings(), name)[first:]]


def beyond(settings: Settings) -> Asked:
    """Return chapter 7's: the map of SIM-Adv's settings, SIM-Adv for free, its neighbours, and who survives."""
    grey = [dataset for dataset in settings.datasets if dataset in GREY]
    runs = {dataset: beyond_runs(settings, dataset) for dataset in grey}
    asked: Asked = {spec: evaluations(dataset) for dataset in grey for spec in runs[dataset]}
    for dataset in grey:
        for spec in runs[dataset]:
            asked[spec] += survival(spec, settings)
            if spec.method == "free-sim":
                asked[spec].append(Staleness(epochs=20, images=SLICE.get(dataset, 1000)))
            if spec in policies(runs[dataset]):
                asked[spec].append(Strength(epochs=2 * spec.n2, images=SLICE.get(dataset, 1000)))
    if settings.own:
        return asked
    for dataset in grey:
        again = beyond_seeds(chosen(settings, dataset, AGAIN.get(dataset, ())))
        for spec in beyond_seeds(runs[dataset]):
            asked[spec] = evaluations(dataset) + (standard(dataset) if spec in again else [])
    return asked


def policies(runs: list[RunSpec]) -> list[RunSpec]:
    """Return those of chapter 7's runs on a data set that are its own SIM-Adv, the first, under each of its resets."""
    plain = next(spec for spec in runs if spec.method == "sim")
    return [spec for spec in runs if spec.method == "sim" and replace(plain, reset=spec.reset) == spec]


def beyond_seeds(runs: list[RunSpec]) -> list[RunSpec]:
    """Return other seeds of chapter 7's single-step runs, in their order."""
    single = [spec for spec in runs if spec.method not in ("bim", "vanilla") and spec.dataset != "digits"]
    return [replace(spec, seed=seed) for spec in single for seed in SEEDS]


def survival(spec: RunSpec, settings: Settings) -> list[Measure | EvalSpec]:
    """Return the strongest tests of a net, on a slice: restarts, a margin, signs of masking, other nets, AutoAttack."""
    images = SLICE.get(spec.dataset, 1000)
    attacks = [EvalSpec(attack=attack, images=images) for attack in ("BIM(10,40)", STRONGER, "CW(20,50)")]
    others = [source for source in sources(settings, spec.dataset).values() if source != spec]
    foreign = [Transfer(source=source.id, attack="BIM(10,40)", images=images) for source in others]
    return [*attacks, Signs(attack="BIM(10,40)", images=images), *foreign, *standard(spec.dataset)]


def sources(settings: Settings, dataset: str) -> dict[str, RunSpec]:
    """Return the nets whose examples are tried on all others: chapter 7's Vanilla and its BIM-Adv with few steps.

    Chapter 7 has none in colour: there it is the Vanilla of the pair that a CPU can train.
    """
    if dataset not in GREY:
        return {"vanilla": run_spec(dataset, "vanilla", **SHORT)}
    last = {spec.method: spec for spec in beyond_runs(settings, dataset)}
    return {method: last[method] for method in ("vanilla", "bim")}


def with_weights(spec: RunSpec) -> bool:
    """Return whether a run comes with its weights."""
    return spec.seed == 0 and spec.model in SHIPPED and spec not in without_weights()


def further(spec: RunSpec, settings: Settings) -> list[Measure | EvalSpec]:
    """Return :func:`survival` of a net of another chapter that comes with the book; nothing of a reader's own."""
    comes = with_weights(spec) and spec.dataset != "digits" and not settings.own
    return survival(spec, settings) if comes else []


def checkpoints(settings: Settings) -> list[RunSpec]:
    """Return the nets of the other chapters that are tested as chapter 7's are: see :func:`further`."""
    given = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    several = [of(EvaluationSettings(**given)) for of in CHAPTERS.values() if of is not beyond]
    tested = [spec for asked in several for spec, of in asked.items() if any(isinstance(m, Signs) for m in of)]
    own = beyond(settings)
    return [spec for spec in dict.fromkeys(tested) if spec not in own]


def evaluation_runs(settings: EvaluationSettings) -> list[RunSpec]:
    """Return the runs of chapter 6 in the order of its tables."""
    specs = []
    for dataset in settings.datasets:
        for method, choice in ROWS:
            if settings.method not in ("all", method):
                continue
            if settings.lr:
                specs.append(spec_of(settings, dataset, method, **(choice | {"lr": settings.lr})))
            else:
                specs += both_rates(settings, dataset, method, **choice)
    return list(dict.fromkeys(specs))


def other_runs(settings: EvaluationSettings) -> list[RunSpec]:
    """Return the rows that stand apart from Table 3, each with its settings in its name.

    The pair on CIFAR-10 that a CPU can train, SIM(4,20)-Adv there, and the wide net, which says how much a net matters.
    """
    rows = [
        ("cifar10", "vanilla", SHORT),
        ("cifar10", "sim", SHORT | {"n1": 4, "n2": 10}),
        ("cifar10", "sim", {"n1": 4}),
    ]
    rows += [("mnist", method, {"model": "lenet_wide"}) for method in ("sim", "bim")]
    chosen = [row for row in rows if row[0] in settings.datasets and settings.method in ("all", row[1])]
    return [run_spec(dataset, method, **choice) for dataset, method, choice in chosen]


def seed_runs(settings: EvaluationSettings) -> list[RunSpec]:
    """Return other seeds of the rows of Table 3, in the order of their worth: single-step methods, SIM-Adv's first."""

    def worth(spec: RunSpec) -> tuple:
        place = settings.datasets.index(spec.dataset), REPEATED.index(spec.method)
        return spec.method in ("bim", "madry"), *place, spec.seed

    rows = [s for s in evaluation_runs(settings) if s.method in REPEATED and s.dataset != "digits"]
    return sorted((replace(spec, seed=seed) for spec in rows for seed in SEEDS), key=worth)


def evaluation(settings: EvaluationSettings) -> Asked:
    """Return chapter 6's: Tables 3 to 5 and a stronger attack; of the book's own rows also others beside them."""
    asked: Asked = {
        spec: list(dict.fromkeys(evaluations(spec.dataset) + stronger(spec.dataset) + further(spec, settings)))
        for spec in evaluation_runs(settings)
    }
    if settings.own:
        return asked
    later = sorted([*other_runs(settings), *seed_runs(settings)], key=lambda spec: spec.model == "lenet_wide")
    return asked | {spec: beside(spec) + further(spec, settings) for spec in later}


def beside(spec: RunSpec) -> list[EvalSpec]:
    """Return Table 3's accuracies of a run beside its rows; of one trained on a part of the images, on a slice."""
    return evaluations(spec.dataset, images=SHORT_SLICE if spec.images else None)


def cost(settings: Settings) -> Asked:
    """Return the cost page's: nothing, it shows what ``make bench`` measured."""
    return {}


CHAPTERS: dict[str, Callable[[Settings], Asked]] = {
    "06_evaluation": evaluation,
    "02_background": background,
    "03_atda": atda,
    "04_1_saturation": saturation,
    "04_2_intermediate": intermediate,
    "05_sim_adv": sim_adv,
    "07_beyond": beyond,
    "cost": cost,
}


def asked() -> dict[str, Asked]:
    """Return what each chapter asks of the published store, the most valuable chapter first."""
    return {name: of(EvaluationSettings()) for name, of in CHAPTERS.items()}


class Unmeasured(Unfinished):
    """A run is trained, and some of its measures might not have ended in time."""


def unmeasured(run: Run, measures: list, store: Store) -> list:
    """Return those of a run's measures that are not stored, and for which all is there that they need."""
    possible = [m for m in measures if isinstance(m, EvalSpec) or m.obstacle(store) is None]
    return [measure for measure in possible if store.evaluation(run, measure) is None]


def complete(spec: RunSpec, measures: list, *, store: Store, device: str = "auto", deadline=None, **options) -> Run:
    """Return the run of ``spec``, trained and measured where that is still to be done; ``options`` of load_or_run.

    Raises:
        Unfinished: the deadline came first. Unmeasured: it leaves no time for a measure, which cannot be interrupted.
    """
    run = load_or_run(spec, store=store, device=device, deadline=deadline, **options)
    if not run.measurable:
        for measure in unmeasured(run, measures, store):
            warnings.warn(f"{spec.id} was stored without its weights: {measure.id} cannot be measured", stacklevel=2)
        return run
    late = []
    for measure in unmeasured(run, measures, store):
        needs = 0 if deadline is None else longest(measure, spec.dataset, store, device)
        if deadline is not None and time.monotonic() + needs > deadline:
            late.append(f"{measure.id}, which may take {needs:.0f} s")
        else:
            take(run, measure, store=store, device=device)
    if late:
        why = f"time is up before {'; '.join(late)} and cannot be interrupted"
        raise Unmeasured(f"{spec.id}: {why}; what was measured is stored, run it again")
    return run


def longest(measure: Measure | EvalSpec, dataset: str, store: Store, device: str = "cpu") -> float:
    """Return the most seconds that a measure took of any stored run on a data set, at least :data:`A_MEASURE`.

    What another kind of device took says nothing: a GPU is faster by a factor of tens.
    """
    runs = [store.get(run_id) for run_id in store.ids() if run_id.startswith(f"{dataset}/")]
    records = [record for run in runs if (record := store.evaluation(run, measure)) is not None]
    kind = pick_device(device).type
    return max([A_MEASURE, *(record["seconds"] for record in records if _kind(record) == kind)])


def _kind(record: dict) -> str:
    """Return the kind of device that a record is from: a processor's name ends in its number of cores."""
    return "cpu" if " cores" in record.get("provenance", {}).get("device", " cores") else "cuda"


def collect(chapter: str, settings: Settings, *, store: Store | None = None) -> list[tuple[RunSpec, Run | None]]:
    """Return a chapter's runs with what is stored of them; train and measure those that are the reader's own.

    A published run that is missing stays None unless ``settings.train``; where a reader changed what runs are, none is.

    Raises:
        InputError: the chapter has nothing on the data set.
    """
    store = store or default()
    published, wanted = asked()[chapter], CHAPTERS[chapter](settings)
    if published and not wanted:
        about = sorted({spec.dataset for spec in published} | {"digits"})
        raise InputError(f"chapter {chapter} has nothing on {settings.dataset}; it is about: {', '.join(about)}")
    found = []
    for spec, measures in wanted.items():
        if settings.train or settings.own or spec not in published:
            found.append((spec, complete(spec, measures, store=store, device=settings.device)))
        else:
            found.append((spec, store.find(spec)))
    return found
