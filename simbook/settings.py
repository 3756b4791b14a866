r"""The parameters of the chapters, checked before any work."""

from dataclasses import dataclass, fields

from simadv.checks import InputError, number, one_of, whole
from simadv.runs import pick_device
from simadv.specs import DATASETS

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


class ParameterError(InputError):
    """A parameter of a chapter is wrong; a notebook shows the message alone, not where it was raised."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters that every chapter has.

    Args:
        profile: ``published`` reads the store and shows what is missing as not run; ``digits`` trains everything.
        dataset: any with ``published``, ``digits`` with ``digits``; ``all``: those of the profile.
        epochs: 0 for the book's own.
        seed: of every run.
        train: train what the published store lacks too.
        device: see ``runs.pick_device``.
    """

    profile: str = "published"
    dataset: str = "all"
    epochs: int = 0
    seed: int = 0
    train: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        one_of("profile", self.profile, PROFILES)
        # any data set may be trained beside what is published, digits too
        one_of("dataset", self.dataset, ("all", *(PROFILES["digits"] if self.profile == "digits" else DATASETS)))
        whole("epochs", self.epochs, least=0)
        whole("seed", self.seed, least=0)
        if not isinstance(self.train, bool):
            raise InputError(f"train = {self.train!r} must be True or False")
        pick_device(self.device)

    @classmethod
    def check(cls, names: dict) -> "Settings":
        """Read a notebook's globals after its parameters cell: nothing else may be defined there yet.

        Raises:
            ParameterError: a name is none (a misspelt ``-p``), or a value is of the wrong type or out of range.
        """
        plain = (str, int, float, bool, list, dict, tuple, type(None))
        hidden = {"In", "Out"}
        given = {k: v for k, v in names.items() if not k.startswith("_") and k not in hidden and isinstance(v, plain)}
        try:
            for name in given:
                one_of("parameter", name, [field.name for field in fields(cls)])
            return cls(**given)
        except InputError as error:
            raise ParameterError(error) from None

    @property
    def own(self) -> bool:
        """Whether the runs are a reader's own: at another number of epochs, or of another seed."""
        return bool(self.epochs or self.seed)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets to show."""
        return PROFILES[self.profile] if self.dataset == "all" else (self.dataset,)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """The parameters of chapter 6: every chapter's, and a choice among its rows.

    Args:
        method: of one row, or ``all``.
        lr: 0 for the book's own.
    """

    method: str = "all"
    lr: float = 0.0

    @property
    def own(self) -> bool:
        """Whether the runs are a reader's own: at other epochs or another rate, or of another seed."""
        return super().own or bool(self.lr)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, ("all", *dict(ROWS)))
        number("lr", self.lr, least=0)
