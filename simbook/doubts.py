r"""Whether an evaluation is to be trusted: signs of masked gradients, for a reader who evaluates a run."""

from dataclasses import replace

from torch import Tensor, nn

from simadv.attacks import Attack, input_gradient
from simadv.evaluation import accuracy
from simadv.runs import load_data, pick_device
from simadv.specs import EvalSpec
from simadv.store import Run, Store, default


def of_run(run: Run, spec: EvalSpec, *, store: Store | None = None, device: str = "auto") -> list[str]:
    """Return why an iterated evaluation is not to be trusted (:func:`doubts`, on 200 images)."""
    attack, target = spec.attack_on(run.spec), pick_device(device)
    if attack is None or attack.n2 == 1:
        return []
    dataset = load_data(run.spec.dataset, target)
    model = (store or default()).model(run, device=target)
    return doubts(model, dataset.x_test[:200], dataset.y_test[:200], attack, seed=spec.seed)


def doubts(model: nn.Module, x: Tensor, y: Tensor, attack: Attack, *, seed: int = 0) -> list[str]:
    r"""Return why an evaluation of ``model`` under ``attack`` is not to be trusted; empty is good.

    Two signs of masked gradients (Athalye et al. 2018): one step does better than as many as reach epsilon, and an
    attack that may do anything (epsilon = 1) leaves some right; and one of their causes: no gradient at the images.

    Args:
        x, y: a slice of the test set; a few hundred images are enough.
    """
    found = []
    fgsm = accuracy(model, x, y, Attack(kind="FGSM", epsilon=attack.epsilon), seed=seed).percent()
    iterated = accuracy(model, x, y, attack, seed=seed).percent()
    if attack.n2 >= attack.n1 and fgsm < iterated:  # with fewer steps it does not come as far as FGSM
        found.append(f"FGSM ({fgsm:.1f} %) is stronger than {attack} ({iterated:.1f} %)")
    flat = ~(input_gradient(model, x, y).flatten(1).abs().amax(1) > 0)  # NaN moves nothing, either
    if flat.any():
        found.append(f"the loss has no gradient at {100 * float(flat.double().mean()):.1f} % of the images")
    steps = {"n1": 10, "n2": max(40, attack.n2)} if attack.n2 > 1 else {}
    left = accuracy(model, x, y, replace(attack, epsilon=1.0, **steps), seed=seed).percent()
    if left > 0:
        found.append(f"with epsilon = 1 {left:.1f} % are still classified correctly; 0 % was to be expected")
    return found
