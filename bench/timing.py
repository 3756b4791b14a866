"""The clock: things are timed in turn, round after round, so that a slow minute hits all of them alike."""

import time
from collections.abc import Callable

import torch
from tqdm import tqdm


def seconds(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Return how long ``work`` takes, all that it left on a GPU included."""
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def in_turn(clocks: dict[str, Callable[[], float]], *, rounds: int, label: str) -> dict[str, list[float]]:
    """Ask each clock once a round, after one round that does not count, and return their answers.

    Every second round goes backwards: nobody always comes after the same neighbour.
    """
    taken = {name: [] for name in clocks}
    bar = tqdm(total=(rounds + 1) * len(clocks), desc=label, unit="timing", disable=None)
    with bar:
        for number in range(rounds + 1):
            for name in list(clocks)[:: -1 if number % 2 else 1]:
                answer = clocks[name]()
                if number:
                    taken[name].append(answer)
                bar.update()
    return taken
