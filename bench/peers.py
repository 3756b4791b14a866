"""BIM(n1, n2) by us and by four libraries, all set to the same thing.

The same epsilon, step and number of steps, steps in the l-infinity ball and in [0, 1], from the image itself, away
from the true labels. Each library is imported only by the process that runs it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Attacker = Callable[[Tensor, Tensor], Tensor]


def ours(net: nn.Module, *, epsilon: float, n1: float, n2: int, precision: str, batch: int) -> Attacker:
    """Return this project's attack: in bf16 (autocast), or in the model's own precision."""
    from simadv.attacks import Attack
    from simadv.learners import autocast
    from simadv.training import steady_allocator

    steady_allocator()  # as every training run and evaluation of the book does
    attack = Attack(kind="BIM", epsilon=epsilon, n1=n1, n2=n2)

    def call(x: Tensor, y: Tensor) -> Tensor:
        with autocast(x.device, precision):
            return attack(net, x, y)

    return call


def torchattacks(net: nn.Module, *, epsilon: float, n1: float, n2: int, precision: str, batch: int) -> Attacker:
    """Return torchattacks' BIM."""
    import torchattacks as library

    return library.BIM(net, eps=epsilon, alpha=epsilon / n1, steps=n2)


def foolbox(net: nn.Module, *, epsilon: float, n1: float, n2: int, precision: str, batch: int) -> Attacker:
    """Return foolbox's BIM; ``run`` leaves out the check of success that ``__call__`` adds."""
    import foolbox as library

    model = library.PyTorchModel(net, bounds=(0, 1))
    attack = library.attacks.LinfBasicIterativeAttack(abs_stepsize=epsilon / n1, steps=n2, random_start=False)
    return lambda x, y: attack.run(model, x, library.criteria.Misclassification(y), epsilon=epsilon)


def cleverhans(net: nn.Module, *, epsilon: float, n1: float, n2: int, precision: str, batch: int) -> Attacker:
    """Return CleverHans' PGD without a random start."""
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    options = {"norm": float("inf"), "clip_min": 0.0, "clip_max": 1.0, "rand_init": False, "sanity_checks": False}
    return lambda x, y: projected_gradient_descent(net, x, epsilon, epsilon / n1, n2, y=y, **options).detach()


def art(net: nn.Module, *, epsilon: float, n1: float, n2: int, precision: str, batch: int) -> Attacker:
    """Return the Adversarial Robustness Toolbox's PGD without a random start: NumPy in, NumPy out, float32 alone."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    device = next(net.parameters()).device
    model = PyTorchClassifier(
        *(net, nn.CrossEntropyLoss(), (1, 28, 28), 10), clip_values=(0.0, 1.0), device_type=device.type
    )
    options = {"num_random_init": 0, "batch_size": batch, "verbose": False}
    attack = ProjectedGradientDescentPyTorch(model, eps=epsilon, eps_step=epsilon / n1, max_iter=n2, **options)
    return lambda x, y: torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x.device)


PEERS = {"torchattacks": torchattacks, "foolbox": foolbox, "cleverhans": cleverhans, "art": art}
ATTACKERS = {"ours": ours} | PEERS
