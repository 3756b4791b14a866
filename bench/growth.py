"""Item 6: time and peak memory as images and n2 grow, each size in a process of its own.

``python -m bench.growth images 1000 2`` prints one line of JSON for a SIM epoch on 1,000 images by two threads;
``n2`` in place of ``images`` is BIM(10, n2) on 500 images.
"""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from bench import stats
from bench.nets import book_net, frozen
from bench.subjects import EPSILON
from bench.timing import seconds
from simadv.adversaries import SIM
from simadv.attacks import Attack
from simadv.learners import autocast
from simadv.training import fit, steady_allocator
from simbook.workers import ROOT, found_first

SIZES = {"images": (1_000, 3_000, 10_000, 30_000, 60_000), "n2": (1, 2, 5, 10, 20, 40)}
TINY = {"images": (128, 256, 512), "n2": (1, 2, 4)}
BATCH = {"images": 128, "n2": 500}


def measure(*, rounds: int, threads: int, quick: bool) -> dict:
    """Return a row a size, and the exponents of time and of memory above that of the smallest possible call."""
    sizes = TINY if quick else SIZES
    kept = {what: {size: [] for size in sizes[what]} for what in sizes}
    todo = [(what, size) for _ in range(rounds) for what in sizes for size in sizes[what]]
    for what, size in tqdm(todo, desc="growth", unit="process", disable=None):
        kept[what][size].append(child(what, size, threads))
    return {what: table(kept[what]) for what in sizes} | {"batch": BATCH}


def child(what: str, size: int, threads: int) -> dict:
    """Return what one process measures."""
    command = [sys.executable, "-m", "bench.growth", what, str(size), str(threads)]
    environment = found_first(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def table(kept: dict[int, list[dict]]) -> dict:
    """Return the rows, and the fitted exponents (of memory, only where it grows at all)."""
    rows = []
    for size, answers in kept.items():
        memory = stats.summary([answer["memory"] for answer in answers])["median"]
        rows.append({"size": size, "memory": memory} | stats.summary([answer["seconds"] for answer in answers]))
    sizes = [row["size"] for row in rows]
    found = {"time_exponent": stats.exponent(sizes, [row["median"] for row in rows])}
    if rows[-1]["memory"] > 2 * rows[0]["memory"]:
        found["memory_exponent"] = stats.exponent(sizes, [row["memory"] for row in rows])
    return {"rows": rows} | found


def peak() -> float:
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss starts at what the parent held when it started this process
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def work(what: str, size: int) -> dict:
    """Return the seconds of one call, and the peak memory above that of the same call on one batch or one step."""
    steady_allocator()
    net = book_net("lenet")
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(count, 1, 28, 28, generator=generator)
        return x, torch.randint(10, (count,), generator=generator)

    def epoch(count: int) -> float:
        x, y = images(count)
        optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)

        def train() -> None:
            adversary = SIM(x, epsilon=EPSILON, n1=10, n2=20)
            options = {"epochs": 1, "batch_size": BATCH[what], "seed": 0, "precision": "bf16"}
            fit(net, x, y, adversary=adversary, optimizer=optimizer, **options)

        return seconds(train)

    def attack(n2: int) -> float:
        x, y = images(BATCH[what])
        with autocast(x.device, "bf16"):
            return seconds(lambda: Attack(kind="BIM", epsilon=EPSILON, n1=10, n2=n2)(frozen(net), x, y))

    call, least = {"images": (epoch, BATCH[what]), "n2": (attack, 1)}[what]
    call(least)  # the first call also loads and sets up whatever is loaded and set up once
    before = peak()
    return {"seconds": call(size), "memory": max(peak() - before, 1)}


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(work(sys.argv[1], int(sys.argv[2]))))
