r"""What a run is: a frozen record of every setting that changes a bit of its result, checked when it is made."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from operator import index

import numpy as np

from simadv.adversaries import RESETS
from simadv.attacks import LABELS, MODES, PROJECTIONS, Attack
from simadv.checks import InputError, number, one_of, whole
from simadv.losses import CORAL_FORMS
from simadv.neighbours import NoisyFGSM

# The paper's data sets with the settings of the book: section 6.1 where it speaks, else chapter 6, Settings.
_GREY = {"model": "lenet", "lr": 1e-4, "monitor": "BIM(10,40)"}
_SGD = {"lr": 0.1, "optimizer": "sgd", "weight_decay": 5e-4, "schedule": "steps", "augment": "pad-crop-flip"}
DATASETS: dict[str, dict] = {
    # chosen so that the story shows within minutes: Vanilla at nothing under BIM, SIM-Adv far above
    "digits": {"model": "lenet", "epsilon": 0.15, "epochs": 40, "lr": 5e-3, "batch_size": 64, "precision": "float32"}
    | {"monitor": "BIM(10,20)", "monitor_images": 50},
    "mnist": _GREY | {"epsilon": 0.3, "epochs": 60},
    "fmnist": _GREY | {"epsilon": 0.2, "epochs": 80},
    "cifar10": _SGD | {"model": "resnet20", "epsilon": 8 / 255, "epochs": 200, "monitor": "BIM(4,20)"},
}
IMAGE_SHAPES = {"digits": (1, 28, 28), "mnist": (1, 28, 28), "fmnist": (1, 28, 28), "cifar10": (3, 32, 32)}
CLASSES = 10
TRAINING_IMAGES = {"digits": 1_437, "mnist": 60_000, "fmnist": 60_000, "cifar10": 50_000}
TEST_IMAGES = dict.fromkeys(("mnist", "fmnist", "cifar10"), 10_000) | {"digits": 360}

_ATTACKED = {"labels": "true", "projection": "ball", "mode": "eval"}
_STEPS = {"n1": 10, "n2": 30} | _ATTACKED
# ATDA as its authors run it (batches of 32, lambda 1/3, centres' rate 0.1, scatter matrices), but at the data set's
# own rate, theirs is 1e-3, and with FGSM away from true labels, theirs goes away from the net's own.
_ADAPTED = {"lambda_": 1 / 3, "beta": 0.1, "coral": "scatter"}
# Watching 1,000 images costs half as much as training where no example is carried: there, fewer will do.
_GLANCE = {"monitor_images": 200}
# Each method with the settings that it has, and the values that the paper gives them (Table 3, section 3).
METHODS: dict[str, dict] = {
    "vanilla": _GLANCE,
    "fgsm": _ATTACKED | _GLANCE,
    "rfgsm": _ATTACKED | _GLANCE,
    "bim": _STEPS,
    "madry": _STEPS,
    "atda": _ATTACKED | _ADAPTED | _GLANCE | {"batch_size": 32},
    "bim-atda": _STEPS | _ADAPTED | {"n1": 30},
    "free": {"m": 10},
    "sim": {"n1": 10, "n2": 20, "reset": "cycle"} | _ATTACKED,
    # chapter 7: SIM-Adv with more steps an epoch, SIM-Adv without attack passes, and the neighbours at their settings
    "sim-k": {"n1": 10, "n2": 20, "reset": "cycle", "k": 2} | _ATTACKED,
    "free-sim": {"n1": 10, "n2": 20, "reset": "cycle", "momentum": 0, "fresh": 0},
    "rs-fgsm": {"n1": 0.8} | _ATTACKED,
    "n-fgsm": {"labels": "true", "mode": "eval"},
    "atta": {"n1": 30, "n2": 10, "reset": "never"} | _ATTACKED,
    "mep": {"n1": 1, "n2": 40, "momentum": 0.3, "lambda_": 10},
}
# Raised when the same spec would train to other bits, so that no old result passes for a new one.
SEMANTICS = dict.fromkeys(METHODS, 1) | {"free": 2, "sim": 2}
CHOICES = {
    "dataset": tuple(DATASETS),
    "model": ("lenet", "lenet_wide", "resnet20"),
    "method": tuple(METHODS),
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "steps"),
    "augment": ("none", "pad-crop-flip"),
    "precision": ("float32", "bf16"),
    "reset": RESETS,
    "labels": LABELS,
    "projection": PROJECTIONS,
    "mode": MODES,
    "coral": CORAL_FORMS,
}
_WHOLE = {"seed": 0, "fresh": 0} | dict.fromkeys(("epochs", "batch_size", "monitor_images", "images"), 1)
_WHOLE |= dict.fromkeys(("n2", "m", "k"), 1)
_REAL = {name: {"above": 0} for name in ("lr", "n1", "beta")} | {"epsilon": {"above": 0, "most": 1}}
_REAL |= {name: {"least": 0} for name in ("weight_decay", "lambda_", "momentum")}
# Fields that came after the first runs: where a method has none, a spec's hash is what it was before them.
_LATER = ("k", "momentum", "fresh")
_OF_METHODS = {name for settings in METHODS.values() for name in settings} - {"batch_size", *_GLANCE}


def short_hash(values: dict) -> str:
    """Return six hex digits of the SHA-256 of ``values`` as canonical JSON."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False, default=index)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that decides a training run. Settings that a method does not have are None.

    Make one with :func:`run_spec`, which fills in the book's settings of data set and method.
    """

    dataset: str
    method: str
    model: str
    epochs: int
    lr: float
    seed: int
    epsilon: float
    batch_size: int = 128
    optimizer: str = "adam"
    schedule: str = "constant"
    weight_decay: float = 0.0
    augment: str = "none"
    precision: str = "bf16"
    images: int | None = None  # train on the first so many; None: all
    monitor: str | None = None  # the attack watched after each epoch; None: nothing is watched
    monitor_images: int = 1000
    n1: float | None = None
    n2: int | None = None
    m: int | None = None
    lambda_: float | None = None
    beta: float | None = None
    coral: str | None = None
    reset: str | None = None
    labels: str | None = None
    projection: str | None = None
    mode: str | None = None
    semantics: int = 1
    k: int | None = None
    momentum: float | None = None
    fresh: int | None = None  # free-sim: an attack pass in every so many epochs; 0: never

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) is not None or name not in _OF_METHODS:
                one_of(name, getattr(self, name), allowed)
        for name in _OF_METHODS:
            given = getattr(self, name) is not None
            if given != (name in METHODS[self.method]):
                verb = "has no" if given else "needs"
                has = ", ".join(METHODS[self.method]) or "no settings of its own"
                raise InputError(f"method {self.method!r} {verb} {name}; it has: {has}")
        self._check_numbers()
        if self.monitor is not None:
            object.__setattr__(self, "monitor", str(Attack.parse(self.monitor, epsilon=self.epsilon)))
        if (self.model == "resnet20") != (self.dataset == "cifar10"):
            fits = f"{self.dataset}: resnet20 is for cifar10, lenet for the rest"
            raise InputError(f"model = {self.model!r} does not fit {fits}")

    def _check_numbers(self) -> None:
        optional = _OF_METHODS | {"images"}
        for name, least in _WHOLE.items():
            if getattr(self, name) is not None or name not in optional:
                object.__setattr__(self, name, whole(name, getattr(self, name), least=least))
        for name, there in (("images", TRAINING_IMAGES), ("monitor_images", TEST_IMAGES)):
            if (getattr(self, name) or 0) > (most := there[self.dataset]):
                raise InputError(f"{name} = {getattr(self, name)} must be at most {most}: {self.dataset} has no more")
        for name, bound in _REAL.items():
            if getattr(self, name) is not None or name not in optional:
                # 10 and 10.0 are one run, and so one id
                object.__setattr__(self, name, float(number(name, getattr(self, name), **bound)))

    @property
    def id(self) -> str:
        """A readable name that ends in a hash of the whole spec, as ``mnist/sim-10-20-lr1e-4-s0-3f9c12``."""
        parts = [self.method, *(f"{value:g}" for value in (self.n1, self.n2, self.m) if value is not None)]
        parts += [f"{name}{getattr(self, name):g}" for name in _LATER if getattr(self, name)]
        usual = DATASETS[self.dataset]
        parts += [self.reset] * (self.reset not in (None, "cycle"))
        parts += [self.model] * (self.model != usual["model"]) + [f"e{self.epochs}"] * (self.epochs != usual["epochs"])
        rate = np.format_float_scientific(self.lr, trim="-", exp_digits=1)
        hashed = {name: value for name, value in asdict(self).items() if value is not None or name not in _LATER}
        return f"{self.dataset}/{'-'.join(parts)}-lr{rate}-s{self.seed}-{short_hash(hashed)}"

    @property
    def passes_over_data(self) -> int:
        """Epochs as the loop counts them; Free-Adv replays each batch m times and so has m times fewer."""
        return self.epochs if self.m is None else max(1, round(self.epochs / self.m))

    @property
    def attack(self) -> Attack | None:
        """The attack that makes fresh examples in training, where the method has one."""
        kinds = {"fgsm": "FGSM", "rfgsm": "R+FGSM", "atda": "FGSM", "bim": "BIM", "madry": "Madry", "bim-atda": "BIM"}
        kinds["rs-fgsm"] = "Madry"  # from a uniform point of the ball one step of 1.25 epsilon, projected
        if self.method == "n-fgsm":
            return NoisyFGSM(epsilon=self.epsilon, labels=self.labels, mode=self.mode)
        if self.method not in kinds:
            return None
        steps = {} if self.n1 is None else {"n1": self.n1, "n2": self.n2 or 1}
        settings = {name: getattr(self, name) for name in _ATTACKED}
        return Attack(kind=kinds[self.method], epsilon=self.epsilon, **steps, **settings)

    @property
    def caution(self) -> str | None:
        """What a reader should know before this run starts, or None."""
        if self.reset in ("cycle", "random") and (into := self.epochs % self.n2):
            reach = f" at {min(1, into * (self.k or 1) / self.n1):.0%} of epsilon or less" * (self.reset == "cycle")
            ends = f"training ends {into} epochs after a reset{reach}; soon after one there may be little robustness"
            return f"{self.epochs} epochs are no multiple of n2 = {self.n2}: {ends}"
        if self.fresh and self.epochs % self.fresh == 0:
            return f"the last of {self.epochs} epochs has a fresh gradient (fresh = {self.fresh}): look at others, too"
        if self.m and (trained := self.passes_over_data * self.m) != self.epochs:
            return f"each batch is replayed m = {self.m} times, so that {self.epochs} epochs are trained as {trained}"
        return None

    def differs(self, other: "RunSpec") -> list[str]:
        """Return ``name: ours != theirs`` for each setting that differs."""
        ours, theirs = asdict(self), asdict(other)
        return [f"{name}: {ours[name]!r} != {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]


def run_spec(dataset: str, method: str, **settings) -> RunSpec:
    """Return the spec of ``method`` on ``dataset`` with the book's settings, changed by ``settings``.

    Raises:
        InputError: a name is not known, a number is out of range, or the method has no such setting.
    """
    one_of("dataset", dataset, DATASETS)
    one_of("method", method, METHODS)
    for name in settings:
        one_of("setting", name, [f.name for f in fields(RunSpec) if f.name not in ("dataset", "method", "semantics")])
    known = {"seed": 0, "semantics": SEMANTICS[method]} | DATASETS[dataset] | METHODS[method] | settings
    return RunSpec(dataset=dataset, method=method, **known)


@dataclass(frozen=True, kw_only=True)
class EvalSpec:
    """Everything that decides an evaluation of a trained model: accuracy (Eq. 17) under both label conventions.

    Args:
        attack: in the paper's notation, or ``none`` for clean images.
        epsilon: None for the run's own.
        images: the first so many of the test set; None: all.
        seed: of the random starts.
    """

    attack: str
    epsilon: float | None = None
    projection: str = "ball"
    images: int | None = None
    seed: int = 0
    semantics: int = 1

    def __post_init__(self) -> None:
        if self.attack != "none":
            # one spelling, one id
            parsed = Attack.parse(self.attack, epsilon=self.epsilon or 1.0, projection=self.projection)
            object.__setattr__(self, "attack", str(parsed))
        if self.epsilon is not None:
            object.__setattr__(self, "epsilon", float(number("epsilon", self.epsilon, above=0, most=1)))
        one_of("projection", self.projection, PROJECTIONS)
        if self.images is not None:
            whole("images", self.images, least=1)
        whole("seed", self.seed, least=0)
        if self.attack == "none" and (self.epsilon, self.projection) != (None, "ball"):
            raise InputError("attack = 'none' leaves images as they are: it takes no epsilon and no projection")

    @property
    def id(self) -> str:
        """A readable name that ends in a hash, as ``bim-10-40-1a2b3c``."""
        words = self.attack.lower().replace("+", "").replace("(", "-").replace(",", "-").replace(")", "")
        return f"{words}-{short_hash(asdict(self))}"

    def attack_on(self, spec: RunSpec) -> Attack | None:
        """Return the attack on a run's model, or None for clean images."""
        if self.attack == "none":
            return None
        return Attack.parse(self.attack, epsilon=self.epsilon or spec.epsilon, projection=self.projection)
