r"""Who makes the examples that a model is trained on: nobody, an attack, or SIM-Adv's carried examples.

An adversary is called with the model, the (augmented) batch :math:`\hat x` and its labels, the batch's ``index`` in
the training set, the ``epoch``, the ``view`` that augmented the batch, and a random ``generator``. It returns
:math:`\tilde x`, ``(B, C, H, W)`` in [0, 1], or None (``makes``). It says what it costs (``passes``: forward and
backward an image, beside those of the update) and which tensors must be kept to resume (``state``; they are loaded
in place). After the update it may ``observe`` its examples again: where it returned them with ``requires_grad``, they
hold the input gradient that the training pass computed. A view has ``forward(x)`` and ``inverse_into(stored, x)``, as
:class:`simadv.data.PadCropFlip` does.
"""

from dataclasses import replace

import torch
from torch import Tensor

from simadv.attacks import Attack, predict, random_start
from simadv.checks import InputError, images, one_of, whole
from simadv.graphs import Replayed

RESETS = ("cycle", "staggered", "never", "random")


class Adversary:
    """What all have in common: nothing to observe, nothing to keep."""

    passes, makes = (0, 0), True

    def observe(self, x_hat, x_tilde, index, *, epoch, view) -> None:
        """Look at nothing."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing to keep."""
        return {}


class NoAdversary(Adversary):
    """Vanilla training: there are no examples."""

    makes = False

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> None:
        """Return nothing."""


class Attacker(Adversary):
    """Fresh examples by an attack in every epoch: FGSM-Adv, R+FGSM-Adv, BIM-Adv, Madry-Adv (section 2.2)."""

    def __init__(self, attack: Attack) -> None:
        self.attack, self.climb = attack, Replayed(attack.climb)
        self.passes = attack.passes

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Return the attack's examples of ``x_hat``."""
        return self.attack(model, x_hat, y, generator=generator, climb=self.climb)


class Carried:
    r"""One example per training image, in the unaugmented frame, as whole numbers of a level.

    Where all moves (the step, and epsilon, where it is cut short) are whole numbers of grey levels, as every image
    is, a byte holds a pixel exactly. Else two bytes hold it in steps of 1/65535, of which a grey level has 257: a
    visit rounds by 1/131070 at most, so that n2 of them move no pixel by more than n2/514 of a grey level.
    """

    def __init__(self, x: Tensor, *, moves: tuple[float, ...]) -> None:
        on_grid = bool(moves) and all(abs(255 * move - round(255 * move)) < 1e-6 for move in moves)
        self.exact = on_grid and torch.equal((x * 255).round() / 255, x)
        # int16 counts from the middle: PyTorch cannot write uint16 by index
        self.levels, self.middle, self.dtype = (255, 0, torch.uint8) if self.exact else (65535, 32768, torch.int16)
        self.values = self._encode(x)

    def _encode(self, x: Tensor) -> Tensor:
        return (x * self.levels).round_().sub_(self.middle).to(self.dtype)

    def read(self, index: Tensor) -> Tensor:
        """Return the carried examples of the images ``index``, float32 in [0, 1]."""
        return self.values.index_select(0, index).float().add_(self.middle).div_(self.levels)

    def write(self, index: Tensor, x: Tensor) -> None:
        """Carry ``x`` for the images ``index``."""
        self.values[index] = self._encode(x)


class SIM(Adversary):
    r"""SIM-Adv: one carried example per training image, moved one step an epoch (Eqs. 14-16, section 5.1).

    .. math:: \tilde x_{i+1} = \mathrm{clip}_{[0,1]}[\tilde x_i + \delta_{i+1}], \quad
        \delta_{i+1} = \tfrac{\epsilon}{n_1} \mathrm{sign} \nabla L(\tilde x_i, y, \theta), \quad \tilde x_0 = \hat x

    as printed (``literal``); by default a step is projected onto the ball of epsilon instead, as all of the book's are
    (:func:`simadv.attacks.advance`). i counts epochs since the image's last reset. ``reset`` says when
    :math:`\tilde x_0 = \hat x` again:

    - ``cycle`` (the paper): all images, in every epoch that is a multiple of n2;
    - ``staggered``: image j in the epochs where (epoch + phase_j) is a multiple of n2, from epoch n2 on,
      with a phase drawn once per image;
    - ``never``: no image, ever;
    - ``random``: as ``cycle``, but to a uniform random point of the ball instead of the image.

    Soon after a reset there is little robustness (chapter 7): with ``cycle`` and ``random`` let the number of epochs
    be a multiple of n2. Examples are carried in steps of 1/65535, so epsilon / n1 should be well above that.

    Args:
        x: the whole training set, ``(N, C, H, W)``.
        epsilon, n1: the step is epsilon / n1.
        n2: length of a cycle.
        reset: a policy above.
        seed: of the phases.
        k: steps an epoch; the paper takes one, and leaves more to future work.
        labels, projection, mode: as in :class:`simadv.attacks.Attack`.

    Raises:
        InputError: a name is not known, a number is out of range, a step is lost in the rounding of what is carried,
            or ``x`` are no images in [0, 1].

    Chapter: :doc:`05_sim_adv`.
    """

    def __init__(
        self, x: Tensor, *, epsilon, n1, n2, reset="cycle", seed=0, k=1, labels="true", projection="ball", mode="eval"
    ) -> None:
        images(x)
        # an Attack checks the settings that the two have in common
        self.attack = Attack(kind="BIM", epsilon=epsilon, n1=n1, n2=n2, labels=labels, projection=projection, mode=mode)
        self.reset = one_of("reset", reset, RESETS)
        self.k = whole("k", k, least=1)
        self.passes = (k + (labels == "predicted"), k)
        # a step is BIM's own
        self.x, self.step = x, Replayed(replace(self.attack, n2=k).climb)
        self.carried = Carried(x, moves=() if reset == "random" else (epsilon, epsilon / n1))
        if epsilon / n1 * self.carried.levels < 0.5:
            raise InputError(f"epsilon / n1 = {epsilon / n1:g} moves no pixel; it must be at least {0.5 / 65535:.1e}")
        phases = torch.randint(n2, (len(x),), generator=torch.Generator().manual_seed(whole("seed", seed, least=0)))
        self.phase = phases.to(x.device) if reset == "staggered" else torch.zeros_like(phases, device=x.device)

    def restarts(self, index: Tensor, epoch: int) -> Tensor:
        """Return which of the images ``index`` start again in ``epoch``, ``(B,)`` bool."""
        n2 = self.attack.n2
        if self.reset == "never" or (self.reset == "staggered" and epoch < n2):
            return torch.full_like(index, epoch == 0, dtype=torch.bool)
        return (self.phase[index] + epoch) % n2 == 0

    def origin(self, index: Tensor, epoch: int, generator) -> Tensor:
        """Return the points that the images ``index`` restart at."""
        x = self.x.index_select(0, index)
        if self.reset == "random" and epoch > 0:
            return random_start(x, epsilon=self.attack.epsilon, generator=generator)
        return x

    def start(self, index: Tensor, epoch: int, generator) -> Tensor:
        """Return where the images ``index`` stand before ``epoch``, in the unaugmented frame."""
        start = self.carried.read(index).to(self.x.dtype)
        if self.reset == "staggered" or epoch % self.attack.n2 == 0:  # else no image starts again
            again = self.restarts(index, epoch)[:, None, None, None]
            start = torch.where(again, self.origin(index, epoch, generator), start)
        return start

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator) -> Tensor:
        """Take a step (or k) from each carried example, keep the outcome, and return it."""
        start = self.start(index, epoch, generator)
        x_tilde = view.forward(start)
        target = predict(model, x_hat) if self.attack.labels == "predicted" else y
        x_tilde = self.step(model, x_hat, target, x_tilde)
        self.carried.write(index, view.inverse_into(start, x_tilde))
        return x_tilde

    def state(self) -> dict[str, Tensor]:
        """Return what must be kept to resume: the carried examples and their phases."""
        return {"carried": self.carried.values, "phase": self.phase}
