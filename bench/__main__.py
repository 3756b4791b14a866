"""``make bench``, or ``python -m bench``: measure, print, and keep the table of this device."""

import argparse
import sys

import torch

from bench import attacks, floors, gpu, growth, report, training
from simadv.checks import InputError, one_of, whole
from simadv.runs import pick_device, provenance
from simbook.workers import WorkerError

PARTS = {part.__name__.split(".")[-1]: part for part in (attacks, training, growth, floors, gpu)}
ROUNDS = {"attacks": 9, "training": 5, "growth": 3, "floors": 7, "gpu": 3}


class Parser(argparse.ArgumentParser):
    """A parser that says what was wrong in one line."""

    def error(self, message: str) -> None:
        """Raise what was wrong."""
        raise InputError(message)


def options(words: list[str] | None) -> argparse.Namespace:
    """Return the options, checked.

    Raises:
        InputError: one is not known or out of range.
    """
    parser = Parser(prog="python -m bench", description="Measure the engine beside its peers, its passes, its floors.")
    parser.add_argument("--only", metavar="PARTS", help=f"some of {','.join(PARTS)} (default: all but gpu)")
    parser.add_argument("--gpu", action="store_true", help="the goals on a CUDA device, alone")
    parser.add_argument("--rounds", type=int, help=f"repetitions (default: {ROUNDS})")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--alone", action="store_true", help="your word that nothing else runs on the device")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all works; nothing is kept")
    found = parser.parse_args(words)
    if found.gpu and found.only:
        raise InputError("--gpu stands for --only gpu; give one of the two")
    names = ["gpu"] if found.gpu else (found.only or "attacks,training,growth,floors").split(",")
    found.parts = [one_of("part", name.strip(), PARTS) for name in names]
    for name in ("rounds", "threads"):
        if getattr(found, name) is not None:
            whole(name, getattr(found, name), least=1)
    return found


def main(words: list[str] | None = None) -> int:
    """Measure what is asked for; return 0 done, 1 an attacker failed, 2 bad input, 130 stopped by Ctrl-C."""
    try:
        asked = options(words)
        torch.set_num_threads(asked.threads)
        for name in asked.parts:
            rounds = asked.rounds or (1 if asked.quick else ROUNDS[name])
            pick_device("cpu")  # which turns TF32 off, so before any measure
            found = PARTS[name].measure(rounds=rounds, threads=asked.threads, quick=asked.quick)
            device = pick_device("cuda" if name == "gpu" else "cpu")
            part = {name: {"about": provenance(device, alone=asked.alone)} | found}
            print(report.text(part), end="\n\n", flush=True)
            if not asked.quick:
                report.write(part, report.path_of(part[name]["about"]["device"]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the parts that were done are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
