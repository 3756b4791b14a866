r"""The attacks of section 2.1: FGSM, R+FGSM, BIM and Madry, and every intermediate example on the way.

All four are one loop: take the sign of the input gradient, step, project. Images are ``(B, C, H, W)``
tensors in [0, 1], perturbations are bounded by ``epsilon`` in the :math:`l_\infty` norm, and labels are
``(B,)`` int64; a model returns logits ``(B, k)``. No attack touches parameter gradients, the training mode or
batch-norm buffers. The functions look at neither images nor labels, so that they can stand in a training step; an
:class:`Attack` that is called does. A ``generator`` of None draws from torch's own; ``loss`` is called with logits,
labels and ``"sum"``.
"""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simadv.checks import InputError, images, number, one_of, whole

KINDS = ("FGSM", "R+FGSM", "BIM", "Madry", "CW")
ITERATED = ("BIM", "Madry", "CW")
LABELS = ("true", "predicted")
PROJECTIONS = ("ball", "literal")
MODES = ("eval", "train")


@contextmanager
def untouched(model: nn.Module, mode: str) -> Iterator[None]:
    """Put ``model`` into ``mode`` with frozen parameters, and leave it exactly as it was found."""
    training = [(module, module.training) for module in model.modules()]
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    # only a forward in train mode writes buffers (batch norm's running statistics)
    buffers = [(b, b.clone()) for b in model.buffers()] if mode == "train" else []
    try:
        model.train(mode == "train")
        for parameter, _ in frozen:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, flag in training:
            module.training = flag
        for parameter, flag in frozen:
            parameter.requires_grad_(flag)
        for buffer, before in buffers:
            buffer.copy_(before)


def cross_entropy(logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy in at least float32: bf16 logits would round the softmax away."""
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), y, reduction=reduction)


def margin(logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    r"""By how much the best wrong class beats the right one: the loss of Carlini and Wagner (2017), without a floor."""
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    margins = (wrong - logits.gather(1, y[:, None])[:, 0]).to(torch.promote_types(logits.dtype, torch.float32))
    return margins.sum() if reduction == "sum" else margins.mean()


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, *, mode: str = "eval", loss=cross_entropy) -> Tensor:
    r"""Return :math:`\nabla_x L(x, y, \theta)`, shape of ``x``: one forward, one backward to the input.

    The loss is summed over the batch, so that each image's gradient does not depend on its company.
    """
    with untouched(model, mode), torch.enable_grad():
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(model(x), y, "sum"), x)
    return gradient


@torch.no_grad()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return the predicted labels, ``(B,)``, in eval mode."""
    with untouched(model, "eval"):
        return model(x).argmax(1)


def advance(x_tilde: Tensor, x_hat: Tensor, gradient: Tensor, *, epsilon: float, n1: float, projection: str) -> Tensor:
    r"""One step of :math:`\epsilon / n_1` along the gradient's sign, the step that BIM and SIM-Adv share.

    ``ball`` keeps :math:`\|\tilde x - \hat x\|_\infty \le \epsilon`, as CleverHans does. ``literal`` clips the
    *step* to :math:`[-\epsilon, \epsilon]`, as Eq. 3 is printed: with n2 > n1 the sum of the steps leaves the
    ball. Both keep pixels in [0, 1].
    """
    if projection == "literal":
        delta = (epsilon / n1) * gradient.sign()
        return (x_tilde + delta.clamp_(-epsilon, epsilon)).clamp_(0, 1)
    return project(torch.add(x_tilde, gradient.sign(), alpha=epsilon / n1), x_hat, epsilon=epsilon)


def project(x: Tensor, x_hat: Tensor, *, epsilon: float) -> Tensor:
    r"""Return the point of :math:`\{z : \|z - \hat x\|_\infty \le \epsilon,\ z \in [0, 1]\}` nearest to ``x``."""
    return x.clamp(x_hat - epsilon, x_hat + epsilon).clamp_(0, 1)


def random_start(x_hat: Tensor, *, epsilon: float, generator: torch.Generator | None) -> Tensor:
    r"""Return a uniform point of the :math:`\epsilon`-ball, clipped to [0, 1] (Madry's :math:`\tilde x_0`)."""
    noise = torch.rand(x_hat.shape, generator=generator, device=x_hat.device, dtype=x_hat.dtype)
    return (x_hat + number("epsilon", epsilon, above=0) * (2 * noise - 1)).clamp_(0, 1)


def half_start(x_hat: Tensor, *, epsilon: float, generator: torch.Generator | None) -> Tensor:
    r"""Return the image moved by half of :math:`\epsilon` with random signs, clipped to [0, 1] (R+FGSM's start)."""
    noise = torch.randn(x_hat.shape, generator=generator, device=x_hat.device, dtype=x_hat.dtype)
    return (x_hat + number("epsilon", epsilon, above=0) / 2 * noise.sign()).clamp_(0, 1)


def trajectory(
    model, x_hat, y, *, epsilon, n1, n2, start=None, projection="ball", mode="eval", loss=cross_entropy
) -> Iterator[Tensor]:
    r"""Yield :math:`\tilde x_0, \tilde x_1, \dots, \tilde x_{n_2}`: every intermediate example from one pass.

    ``start`` is :math:`\tilde x_0` (default: the image itself). The model is in its own mode between yields.

    Raises:
        InputError: as :class:`Attack`, which checks the settings, at the first example.
    """
    Attack(kind="BIM", epsilon=epsilon, n1=n1, n2=n2, projection=projection, mode=mode)
    x_hat, x_tilde = x_hat.detach(), (x_hat if start is None else start).detach()  # no example has a graph
    yield x_tilde
    for _ in range(n2):
        gradient = input_gradient(model, x_tilde, y, mode=mode, loss=loss)
        x_tilde = advance(x_tilde, x_hat, gradient, epsilon=epsilon, n1=n1, projection=projection)
        yield x_tilde


def bim(model: nn.Module, x_hat: Tensor, y: Tensor, *, epsilon: float, n1: float, n2: int, **options) -> Tensor:
    r"""Return BIM(n1, n2) examples (Eqs. 3-4, section 2.1.2).

    .. math:: \tilde x_{i+1} = \mathrm{clip}_{[0,1]}[\tilde x_i + \delta_{i+1}], \quad
        \delta_{i+1} = \tfrac{\epsilon}{n_1} \mathrm{sign} \nabla L(\tilde x_i, y, \theta), \quad \tilde x_0 = \hat x

    as printed; by default a step is projected onto the ball of epsilon instead, see :func:`advance`.

    Args:
        x_hat, y: images ``(B, C, H, W)`` in [0, 1] and the labels ``(B,)`` to push away from.
        epsilon: bound of the perturbation, in pixels of [0, 1]. n1: the step is epsilon / n1. n2: steps.
        options: ``start``, ``projection``, ``mode`` and ``loss`` of :func:`trajectory`.

    Returns:
        ``(B, C, H, W)``.

    Raises:
        InputError: a setting is out of range.

    Chapter: :doc:`02_background`.
    """
    # the last alone is kept, so that n2 costs no memory
    return deque(trajectory(model, x_hat, y, epsilon=epsilon, n1=n1, n2=n2, **options), maxlen=1).pop()


def fgsm(model: nn.Module, x_hat: Tensor, y: Tensor, *, epsilon: float, **options) -> Tensor:
    r"""Return FGSM examples (Eqs. 1-2, section 2.1.1): the whole of :math:`\epsilon` in one step, BIM(1, 1).

    Chapter: :doc:`02_background`.
    """
    return bim(model, x_hat, y, epsilon=epsilon, n1=1, n2=1, **options)


def r_fgsm(model: nn.Module, x_hat: Tensor, y: Tensor, *, epsilon: float, generator=None, **options) -> Tensor:
    r"""Return R+FGSM examples (section 2.1.1; Tramèr et al. 2017): half of epsilon at random, half by gradient."""
    start = half_start(x_hat, epsilon=epsilon, generator=generator)
    return bim(model, x_hat, y, epsilon=epsilon, n1=2, n2=1, start=start, **options)


def madry(model: nn.Module, x_hat: Tensor, y: Tensor, *, epsilon: float, generator=None, **options) -> Tensor:
    r"""Return Madry(n1, n2) examples: :func:`bim` from a random point of the ball (section 2.1.2)."""
    start = random_start(x_hat, epsilon=epsilon, generator=generator)
    return bim(model, x_hat, y, epsilon=epsilon, start=start, **options)


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack with its settings, printed as the paper writes it: ``BIM(10,40)``, ``Madry(20,50)x10``.

    Args:
        kind: one of ``FGSM``, ``R+FGSM``, ``BIM``, ``Madry``, ``CW`` (Madry's steps on the :func:`margin`).
        epsilon: bound of the perturbation, in pixels of [0, 1], above 0, at most 1.
        n1: the step is epsilon / n1; any number above 0 (not FGSM, R+FGSM). BIM without n1 and n2 is FGSM.
        n2: number of steps (not FGSM, R+FGSM).
        restarts: repetitions from fresh random starts; the first example that fools the model is kept.
        labels: push away from the ``true`` label, or from the model's prediction on the clean image
            (``predicted``: what CleverHans does when it is given no label).
        projection: ``ball`` or ``literal``, see :func:`advance`.
        mode: the model's mode while it is attacked, ``eval`` or ``train``.

    Raises:
        InputError: a name is not known or a number is out of range.
    """

    kind: str
    epsilon: float
    n1: float = 1
    n2: int = 1
    restarts: int = 1
    labels: str = "true"
    projection: str = "ball"
    mode: str = "eval"

    def __post_init__(self) -> None:
        one_of("attack", self.kind, KINDS)
        one_of("labels", self.labels, LABELS)
        one_of("projection", self.projection, PROJECTIONS)
        one_of("attack mode", self.mode, MODES)
        number("epsilon", self.epsilon, above=0, most=1)
        number("n1", self.n1, above=0)
        whole("n2", self.n2, least=1)
        if self.kind not in ITERATED and (self.n1, self.n2) != (1, 1):
            raise InputError(f"{self.kind} takes no n1 and n2; BIM, Madry and CW do")
        whole("restarts", self.restarts, least=1)
        if self.restarts > 1 and not self.is_random:
            raise InputError(f"restarts = {self.restarts} changes nothing: {self.kind} has no random start")

    @classmethod
    def parse(cls, text: str, **settings) -> "Attack":
        """Read the paper's notation: ``FGSM``, ``BIM(10,40)``, ``Madry(20,50)x10``; ``settings`` as in the class."""
        found = re.fullmatch(r"([\w+]+?)(?:\((\d+\.?\d*(?:e[+-]?\d+)?),\s*(\d+)\))?(?:x(\d+))?", str(text).strip())
        if not found:
            raise InputError(f"attack = {text!r} is not understood; write FGSM, R+FGSM, BIM(10,40) or Madry(20,50)x10")
        kind, n1, n2, restarts = found.groups()
        one_of("attack", kind, KINDS)
        if (kind in ITERATED) != (n1 is not None):
            raise InputError(f"attack = {text!r}: BIM, Madry and CW take (n1,n2), as in BIM(10,40); FGSM, R+FGSM none")
        steps = {} if n1 is None else {"n1": int(n1) if n1.isdecimal() else float(n1), "n2": int(n2)}
        return cls(kind=kind, restarts=int(restarts or 1), **steps, **settings)

    @property
    def is_random(self) -> bool:
        """Whether the attack starts at a random point."""
        return self.kind in ("R+FGSM", "Madry", "CW")

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes per image."""
        # each further try looks at who still stands
        return self.restarts * (self.n2 + 1) - 1 + (self.labels == "predicted"), self.restarts * self.n2

    def __str__(self) -> str:
        steps = f"({str(self.n1).removesuffix('.0')},{self.n2})" if self.kind in ITERATED else ""
        return f"{self.kind}{steps}" + (f"x{self.restarts}" if self.restarts > 1 else "")

    def __call__(
        self, model: nn.Module, x_hat: Tensor, y: Tensor, *, generator: torch.Generator | None = None, climb=None
    ) -> Tensor:
        """Return adversarial examples of ``x_hat``, same shape; ``climb`` does the work of :meth:`climb`.

        Raises:
            InputError: without ``climb``: ``x_hat`` are no images in [0, 1], or ``y`` no labels of them.
        """
        climb = climb or images(x_hat, y) or self.climb  # training has looked at its images before
        target = predict(model, x_hat) if self.labels == "predicted" else y
        best = climb(model, x_hat, target, self.start(x_hat, generator))
        for _ in range(self.restarts - 1):
            standing = (predict(model, best) == y)[:, None, None, None]
            best = torch.where(standing, climb(model, x_hat, target, self.start(x_hat, generator)), best)
        return best

    def start(self, x_hat: Tensor, generator: torch.Generator | None) -> Tensor:
        r"""Return :math:`\tilde x_0`: the image itself, or the random point that the attack starts from."""
        starts = {"R+FGSM": half_start, "Madry": random_start, "CW": random_start}
        return starts[self.kind](x_hat, epsilon=self.epsilon, generator=generator) if self.is_random else x_hat

    def climb(self, model: nn.Module, x_hat: Tensor, y: Tensor, start: Tensor) -> Tensor:
        """Return the examples that one try gives from ``start``, away from the labels ``y``."""
        n1, n2 = (2, 1) if self.kind == "R+FGSM" else (self.n1, self.n2)
        settings = {"epsilon": self.epsilon, "n1": n1, "n2": n2, "projection": self.projection, "mode": self.mode}
        return bim(model, x_hat, y, start=start, loss=margin if self.kind == "CW" else cross_entropy, **settings)
