"""Train runs in children that are killed again and again until they are done: ``python killed.py FOLDER``.

Torch is imported once; each life is a fork that goes on from what the last one left. A write is slowed down in the
middle of its file, so that some kills land there. What happened is printed as JSON, by method; the runs of a method
lie in FOLDER/METHOD: ``whole`` was never killed, ``killed-0``, ``killed-1``, ... were. Each holds
``last.safetensors`` too: every tensor that the trainer had at the end.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from safetensors.torch import save_file

from simadv import runs, store
from simadv.specs import RunSpec, run_spec

KILLS = 20
SMALL = {"images": 56, "batch_size": 16, "monitor": "Madry(2,2)", "monitor_images": 8}
SPECS = {
    "sim": run_spec("digits", "sim", n1=2, n2=4, reset="staggered", epochs=16, **SMALL),
    "atda": run_spec("digits", "atda", epochs=15, precision="float32", **SMALL),
    "free": run_spec("digits", "free", m=3, epochs=36, **SMALL),
}


def half_first(write_whole):
    """Return ``write_whole`` with a rest while half of the file is there, longer for the files that come but once."""

    def slow(path: Path, write) -> None:
        def in_two_halves(part: Path) -> None:
            write(part)
            content = part.read_bytes()
            part.write_bytes(content[: len(content) // 2])
            time.sleep(0.02 if path.name == "checkpoint.safetensors" else 0.4)
            part.write_bytes(content)

        write_whole(path, in_two_halves)

    return slow


def live(spec: RunSpec, folder: Path, slowly: bool) -> None:
    """Go on with the run to its end, and keep the trainer's tensors beside it."""
    if slowly:
        store.write_whole = half_first(store.write_whole)
    make, finish, made = runs.trainer_of, store.Store.finish, []

    def remember(*args):
        made.append(make(*args))
        return made[-1]

    def finish_and_keep(self, *args):
        tensors = {name: value.contiguous() for name, value in made[-1].tensors().items()}
        save_file(tensors, folder / "last.safetensors")
        return finish(self, *args)

    runs.trainer_of, store.Store.finish = remember, finish_and_keep
    runs.load_or_run(spec, store=store.Store(folder), device="cpu", save_every=0.05)


def fork(spec: RunSpec, folder: Path, slowly: bool) -> int:
    """Start a life and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        live(spec, folder, slowly)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def follow(pid: int, due) -> bool:
    """Kill the life when ``due()``, and return whether it was still there to be killed."""
    while not due():
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            if status:
                sys.exit("a life ended in an error")
            return False
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def stamp(path: Path) -> int:
    """Return when a file was last replaced, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_until_done(spec: RunSpec, folder: Path, seconds: float, chance: random.Random, left: int) -> list[dict]:
    """Kill ``left`` lives of a run, two more while it is being finished, and let the next one end; return the kills."""
    home, kills = folder / spec.id, []
    last = {left: "weights.safetensors", left + 1: "run.json"}
    while True:
        # most lives are short; every fifth goes far, at least to a checkpoint of its own, however slow the machine
        far, in_a_write = len(kills) % 5 == 4, len(kills) % 3 == 0
        began, delay = time.monotonic(), chance.uniform(0, seconds / (2 if far else 8))
        saved_before = stamp(home / "checkpoint.safetensors") if far else None
        pid = fork(spec, folder, slowly=True)

        def due(pid=pid, began=began, delay=delay, in_a_write=in_a_write, saved_before=saved_before) -> bool:
            if len(kills) >= left:
                return len(kills) in last and (home / f"{last[len(kills)]}.{pid}.part").exists()
            if time.monotonic() - began < delay or stamp(home / "checkpoint.safetensors") == saved_before:
                return False
            return not in_a_write or any(home.glob(f"*.{pid}.part"))

        if not follow(pid, due):
            return kills
        halves = [path.name.split(".")[0] for path in home.glob(f"*.{pid}.part")]
        kept = store.Store(folder).load_checkpoint(spec)  # whole, whenever the kill came
        done = None if kept is None else [kept[1]["epoch"], kept[1]["step"]]
        kills.append({"half_written": halves, "kept": done, "finished": (home / "run.json").exists()})


def report(spec: RunSpec, folder: Path, chance: random.Random) -> dict:
    """Train a run once in peace, then under fire until there were enough kills."""
    runs.trainer_of(spec, torch.device("cpu"))  # whatever is imported late is imported here, once for all lives
    (folder / "whole").mkdir(parents=True)
    began = time.monotonic()
    follow(fork(spec, folder / "whole", slowly=False), lambda: False)
    seconds, rounds = time.monotonic() - began, []
    # a run that ended before there were enough is followed by another one
    while (left := KILLS - sum(map(len, rounds))) > 0 and len(rounds) < 9:
        home = folder / f"killed-{len(rounds)}"
        home.mkdir()
        rounds.append(kill_until_done(spec, home, seconds, chance, left))
    return {"id": spec.id, "seconds": seconds, "rounds": rounds}


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    print(json.dumps({name: report(spec, root / name, random.Random(name)) for name, spec in SPECS.items()}))
