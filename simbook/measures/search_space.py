r"""Where training examples lie in the ball around their images, on a plane: section 5.3, Fig. 8, measured.

The paper draws by hand where each method *could* find an example. Here a small net is trained on points of a plane by
each method, and every example that it was trained on is kept, as whole steps of epsilon/n1 away from its original.
The problem is small enough to search the ball exhaustively, which says what the other searches missed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
from torch import Tensor, nn

from simadv.adversaries import SIM, Adversary, Attacker, NoAdversary
from simadv.attacks import Attack, predict, trajectory
from simadv.learners import FreeReplay
from simadv.training import Trainer, fit

COLUMNS = ["method", "seed", "epoch", "kind", "u", "v", "count"]
EXAMPLE, WAY = "trained on", "on the way"
OPTIMAL, VANILLA = "exhaustive search", "Vanilla"


@dataclass(frozen=True, kw_only=True)
class Toy:
    """The problem and its training: a 3 x 3 board of squares, the classes in turn, closer than three epsilon.

    Args:
        epsilon: 20 grey levels, so that steps of epsilon/n1 are whole levels and all is exact.
        n1, n2: of BIM and SIM-Adv; ``m``: of Free-Adv.
        a_square: points in each square.
        spacing, spread: distance of the squares' centres, and half the side of a square, in epsilon.
        epochs: three cycles of n2, as on MNIST.
    """

    epsilon: float = 20 / 255
    n1: int = 10
    n2: int = 20
    m: int = 10
    a_square: int = 8
    spacing: float = 2.4
    spread: float = 0.12
    epochs: int = 60
    batch_size: int = 18
    lr: float = 1e-2
    width: int = 32

    @property
    def methods(self) -> list[str]:
        """The methods in the order of the figure's panels, as they are written."""
        steps = f"({self.n1},{self.n2})"
        return [OPTIMAL, f"BIM{steps}", "FGSM", f"SIM{steps}", f"SIM{steps} staggered", f"Free-Adv({self.m})"]


def board(toy: Toy) -> tuple[Tensor, Tensor]:
    """Return points as images of two pixels, float64 ``(N, 1, 1, 2)`` on whole grey levels, and their classes."""
    generator = torch.Generator().manual_seed(0)
    number = torch.arange(9 * toy.a_square) % 9
    row, column = number // 3, number % 3
    noise = 2 * torch.rand(len(number), 2, generator=generator, dtype=torch.float64) - 1
    offset = toy.spacing * (torch.stack([column, row], 1).double() - 1) + toy.spread * noise
    x = ((0.5 + toy.epsilon * offset) * 255).round() / 255
    return x[:, None, None, :], (row + column) % 2


class Plane(nn.Module):
    """A net of two hidden layers on the plane, in float64; smooth, so that no gradient is exactly 0."""

    def __init__(self, toy: Toy, *, seed: int) -> None:
        super().__init__()
        self.unit = 1.5 * toy.epsilon
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [nn.Linear(2, toy.width), nn.Tanh(), nn.Linear(toy.width, toy.width), nn.Tanh()]
            self.layers = nn.Sequential(*layers, nn.Linear(toy.width, 2)).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, ``(B, 2)``."""
        return self.layers((x.flatten(1) - 0.5) / self.unit)


class Exhaustive(Adversary):
    """The optimal example: of all points of the mesh of epsilon/n1 in the ball, the one of the highest loss."""

    def __init__(self, toy: Toy) -> None:
        ticks = torch.arange(-toy.n1, toy.n1 + 1, dtype=torch.float64) / toy.n1
        self.mesh = toy.epsilon * torch.cartesian_prod(ticks, ticks)
        self.passes = (len(self.mesh), 0)

    @torch.no_grad()
    def __call__(self, model, x_hat, y, index=None, *, epoch=0, view=None, generator=None) -> Tensor:
        """Return the examples of ``x_hat``."""
        around = x_hat[:, None] + self.mesh[None, :, None, None, :]
        logits = model(around.flatten(0, 1)).unflatten(0, around.shape[:2])
        # with two classes the loss rises as the margin falls, and the margin does not round to nothing
        margin = (logits[..., 1] - logits[..., 0]) * (2 * y[:, None] - 1)
        return x_hat + self.mesh[margin.argmin(1)][:, None, None, :]


class Climber(Attacker):
    """BIM that keeps the points on its way: ``way`` has those between the image and the example."""

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Return the attack's examples of ``x_hat``."""
        attack = self.attack
        steps = trajectory(model, x_hat, y, epsilon=attack.epsilon, n1=attack.n1, n2=attack.n2)
        _, *self.way, last = steps
        return last


class Log:
    """How often training came to which place, in whole steps of epsilon/n1 from the original."""

    def __init__(self, toy: Toy) -> None:
        self.step, self.rows = toy.epsilon / toy.n1, []

    def note(self, x_tilde: Tensor, x_hat: Tensor, *, epoch: int, kind: str = EXAMPLE) -> None:
        """Keep where ``x_tilde`` lie relative to ``x_hat``."""
        places = ((x_tilde - x_hat) / self.step).round().flatten(1).long().tolist()
        self.rows += [(epoch, kind, u, v) for u, v in places]

    def counts(self) -> pd.DataFrame:
        """Return ``epoch, kind, u, v`` and their ``count``."""
        frame = pd.DataFrame(self.rows, columns=COLUMNS[2:-1])
        return frame.groupby(COLUMNS[2:-1], sort=True).size().rename("count").reset_index()


class Watched(Adversary):
    """An adversary whose examples are logged."""

    def __init__(self, adversary, log: Log) -> None:
        self.adversary, self.log, self.passes = adversary, log, adversary.passes

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Return the adversary's examples."""
        x_tilde = self.adversary(model, x_hat, y, index, epoch=epoch, view=view, generator=generator)
        self.log.note(x_tilde, x_hat, epoch=epoch)
        for point in getattr(self.adversary, "way", ()):
            self.log.note(point, x_hat, epoch=epoch, kind=WAY)
        return x_tilde

    def state(self) -> dict[str, Tensor]:
        """Return what the adversary keeps."""
        return self.adversary.state()


class WatchedReplay(FreeReplay):
    """Free-Adv whose examples are logged; a replay counts as an epoch, for the model was updated as often."""

    def __init__(self, model: nn.Module, optimizer, *, toy: Toy, slots: Tensor, log: Log) -> None:
        super().__init__(model, optimizer, "float32", epsilon=toy.epsilon, m=toy.m, slots=slots)
        self.log = log

    def __call__(self, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Update the model m times and return the last loss."""
        seen: list[Tensor] = []
        hook = self.model.register_forward_pre_hook(lambda model, given: seen.append(given[0].detach().clone()))
        loss = super().__call__(x_hat, y, index, epoch=epoch, view=view, generator=generator)
        hook.remove()
        for replay, x_tilde in enumerate(seen):
            self.log.note(x_tilde, x_hat, epoch=epoch * self.m + replay)
        return loss


def adversary(method: str, toy: Toy, x: Tensor):
    """Return who makes the examples of ``method``, a name of :attr:`Toy.methods` but Free-Adv's, or Vanilla."""
    steps = {"epsilon": toy.epsilon, "n1": toy.n1, "n2": toy.n2}
    makers: dict[str, Callable] = {
        VANILLA: NoAdversary,
        OPTIMAL: lambda: Exhaustive(toy),
        "FGSM": lambda: Attacker(Attack(kind="FGSM", epsilon=toy.epsilon)),
        f"BIM({toy.n1},{toy.n2})": lambda: Climber(Attack(kind="BIM", **steps)),
        f"SIM({toy.n1},{toy.n2})": lambda: SIM(x, **steps),
        f"SIM({toy.n1},{toy.n2}) staggered": lambda: SIM(x, **steps, reset="staggered"),
    }
    return makers[method]()


def train(method: str, toy: Toy, *, seed: int) -> tuple[nn.Module, pd.DataFrame]:
    """Return a net trained by ``method``, and where its examples were (see :meth:`Log.counts`)."""
    x, y = board(toy)
    model, log = Plane(toy, seed=seed), Log(toy)
    optimizer = torch.optim.Adam(model.parameters(), toy.lr)
    settings = {"batch_size": toy.batch_size, "seed": seed}
    if method.startswith("Free-Adv"):
        learner = WatchedReplay(model, optimizer, toy=toy, slots=x[: toy.batch_size], log=log)
        Trainer(learner, x, y, epochs=max(1, toy.epochs // toy.m), **settings).run()
    else:
        maker = adversary(method, toy, x)
        watched = maker if method == VANILLA else Watched(maker, log)
        fit(model, x, y, adversary=watched, optimizer=optimizer, epochs=toy.epochs, **settings)
    return model.eval(), log.counts()


def judge(model: nn.Module, toy: Toy) -> dict[str, float]:
    """Return how many of the points (%) are classified correctly: clean, under BIM, under the exhaustive search."""
    x, y = board(toy)
    iterated = Attack(kind="BIM", epsilon=toy.epsilon, n1=toy.n1, n2=toy.n2)
    seen = {"clean": x, str(iterated): iterated(model, x, y), OPTIMAL: Exhaustive(toy)(model, x, y)}
    return {name: 100 * float((predict(model, points) == y).double().mean()) for name, points in seen.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: a second one only waits on nets as small as these, and sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
@cache
def search_spaces(toy: Toy, *, seeds: tuple[int, ...] = (0, 1, 2)) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return where the examples of every method were (:data:`COLUMNS`), and what each trained net withstands (%).

    The frames are made once and shared by all who ask: leave them as they are.
    """
    places, withstood = [], []
    for method in (*toy.methods, VANILLA):
        for seed in seeds:
            model, counts = train(method, toy, seed=seed)
            places.append(counts.assign(method=method, seed=seed)[COLUMNS])
            withstood.append({"method": method, "seed": seed} | judge(model, toy))
    return pd.concat([part for part in places if len(part)], ignore_index=True), pd.DataFrame(withstood)
