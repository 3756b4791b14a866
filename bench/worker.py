"""One attacker in a process of its own, in either environment: ``python -m bench.worker SETTINGS.json``.

It says that it is ready, and then answers each line on stdin with one line of JSON on stdout. ``go NET PRECISION N``
attacks the first N images once and answers ``{"seconds": ...}``; ``examples NET PRECISION N PATH`` attacks the first
N, batch by batch, and keeps the examples in PATH. NET is ``plain`` or ``book``.
"""

import json
import os
import sys
import time
from functools import cache

import torch

from bench.nets import book_net, frozen, plain_lenet
from bench.peers import ATTACKERS


class Answers:
    """Does what the lines ask for, with one net a kind and precision."""

    def __init__(self, settings: dict) -> None:
        torch.set_num_threads(settings["threads"])
        self.settings, self.kept = settings, torch.load(settings["file"], weights_only=True)
        self.attack = cache(self.attack)

    def attack(self, net: str, precision: str):
        """Return the attacker of a net."""
        weights = self.kept["weights"]
        model = frozen(plain_lenet(weights) if net == "plain" else book_net("lenet", weights))
        options = {name: self.settings[name] for name in ("epsilon", "n1", "n2", "batch")}
        model = model.double() if precision == "float64" else model
        return ATTACKERS[self.settings["attacker"]](model, precision=precision, **options)

    def __call__(self, line: str) -> dict:
        """Do what one line asks for."""
        word, net, precision, count, *path = line.split(maxsplit=4)
        attack = self.attack(net, precision)
        x, y = self.kept["x"][: int(count)], self.kept["y"][: int(count)]
        x = x.double() if precision == "float64" else x
        if word == "go":
            began = time.perf_counter()
            attack(x, y)
            return {"seconds": time.perf_counter() - began}
        if word == "examples":
            parts = zip(x.split(self.settings["batch"]), y.split(self.settings["batch"]), strict=True)
            torch.save(torch.cat([attack(a, b) for a, b in parts]).contiguous(), path[0].strip())
            return {"images": len(x)}
        raise ValueError(f"{word!r} is not known")


def main() -> None:
    """Serve until stdin ends; what the libraries print goes to stderr."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(sys.argv[1]) as file:
        answer = Answers(json.load(file))
    print(json.dumps({"ready": True}), file=out)
    for line in sys.stdin:
        print(json.dumps(answer(line)), file=out)


if __name__ == "__main__":
    main()
