"""The process that runs AutoAttack's four, in the library's environment: ``python -m simbook.measures.four NET.pt``.

It says which library it has, and then answers each line ``NAME START STOP`` with how many of those images are still
right after the attack NAME; each attack meets the images that withstood all before it.
"""

import json
import os
import sys
from importlib.metadata import version

import torch
from torch import Tensor, nn

from simadv import models
from simadv.specs import CLASSES

# in the authors' order
FOUR = ("apgd-ce", "apgd-t", "fab-t", "square")
TOUCH = 1e-6  # how far an example may stray from its ball by rounding


def attacks(net: nn.Module, *, epsilon: float, steps: int, queries: int) -> dict:
    """Return the four by name, set as the authors' standard is, but for what is given; one start each, seed 0.

    Square's squares shrink at the library's default pace, which is faster than the authors'.
    """
    import torchattacks as library

    ball = {"norm": "Linf", "eps": epsilon, "n_restarts": 1, "seed": 0}
    return {
        "apgd-ce": library.APGD(net, loss="ce", steps=steps, **ball),
        "apgd-t": library.APGDT(net, steps=steps, n_classes=CLASSES, **ball),
        "fab-t": library.FAB(net, steps=steps, multi_targeted=True, n_classes=CLASSES, **ball),
        "square": library.Square(net, n_queries=queries, **ball),
    }


def inside(examples: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """Return which examples lie in the balls of their images and in [0, 1], to :data:`TOUCH`; a NaN does not."""
    near = (examples - x).abs().flatten(1).amax(1) <= epsilon + TOUCH
    lit = ((examples >= -TOUCH) & (examples <= 1 + TOUCH)).flatten(1).all(1)
    return near & lit


class Answers:
    """Does what the lines ask for, and remembers which images are still classified correctly."""

    def __init__(self, path: str) -> None:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        about = json.loads(kept["about"])
        torch.set_num_threads(about.pop("threads"))
        device = about.pop("device")
        torch.backends.cudnn.allow_tf32 = False  # as where nets are trained and measured
        self.x, self.y = kept["x"].to(device), kept["y"].to(device)
        net = models.build(about.pop("model"), image_shape=tuple(self.x.shape[1:]), classes=CLASSES, seed=0)
        net.load_state_dict(kept["weights"])
        self.net = net.to(device).eval().requires_grad_(False)
        self.epsilon = about["epsilon"]
        self.attacks = attacks(self.net, **about)
        self.stands = torch.zeros(len(self.y), dtype=torch.bool, device=device)

    def __call__(self, line: str) -> dict:
        """Do what one line asks for; ``clean`` stands for no attack and comes first."""
        name, *ends = line.split()
        part = slice(*map(int, ends))
        if name == "clean":
            self.stands[part] = self.right(self.x[part], self.y[part])
            return {"right": int(self.stands[part].sum()), "outside": 0}
        standing = self.stands[part].nonzero().flatten() + part.start
        if not len(standing):
            return {"right": 0, "outside": 0}
        x, y = self.x[standing], self.y[standing]
        examples = self.attacks[name](x, y).detach()
        allowed = inside(examples, x, self.epsilon)
        self.stands[standing] = ~allowed | self.right(examples, y)
        return {"right": int(self.stands[part].sum()), "outside": int((~allowed).sum())}

    @torch.no_grad()
    def right(self, x: Tensor, y: Tensor) -> Tensor:
        """Return which of ``x`` are classified as ``y``."""
        return self.net(x).argmax(1) == y


def main() -> None:
    """Serve until stdin ends; what the library prints goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answer = Answers(sys.argv[1])
    print(json.dumps({"library": f"torchattacks {version('torchattacks')}"}), file=out)
    for line in sys.stdin:
        print(json.dumps(answer(line)), file=out)


if __name__ == "__main__":
    main()
