"""The commands of ``python -m simadv``: plan, run, status, evaluate, compare, verify, publish."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import torch
from safetensors import SafetensorError, safe_open

from simadv import __version__, runs, store
from simadv.checks import InputError, guess, number, whole
from simadv.specs import CHOICES, DATASETS, METHODS, EvalSpec, RunSpec, run_spec
from simbook import audit, chapters, doubts, publish
from simbook.measures.base import take
from simbook.workers import WorkerError

EXITS = {FloatingPointError: 1, WorkerError: 1, InputError: 2, runs.Unfinished: 3, KeyboardInterrupt: 130}
EXITS |= {OSError: 1, SafetensorError: 1}  # the disk is full, or a file is none; what was whole before is whole now
EXITS |= {torch.OutOfMemoryError: 1}  # of a GPU, to which other processes may belong as well
# what stops a run, and not those after it
OF_A_RUN = (FloatingPointError, WorkerError, store.StoreError, torch.OutOfMemoryError, chapters.Unmeasured)
# The settings of a run of one's own that are no choice among names, and what help says of all.
VALUES = {
    "epochs": (int, "passes over the training set (free: epochs / m of them, each batch m times)"),
    "lr": (float, "learning rate"),
    "seed": (int, "of first weights, order of images, and random starts (default: 0)"),
    "epsilon": (float, "bound of the perturbation, in pixels of [0, 1]"),
    "n1": (float, "a step of the attack is epsilon / n1"),
    "n2": (int, "steps of the attack; of a method that carries examples, the epochs from reset to reset"),
    "k": (int, "steps an epoch (sim-k)"),
    "m": (int, "how often each batch is replayed (free)"),
    "fresh": (int, "a gradient of its own in every so many epochs, 0 for never (free-sim)"),
    "momentum": (float, "of the carried directions (free-sim, mep)"),
    "lambda_": (float, "weight of the domain adaptation (atda, bim-atda) or of the consistency (mep)"),
    "beta": (float, "rate of the class centres (atda, bim-atda)"),
    "batch_size": (int, "images an update"),
    "weight_decay": (float, "of the optimizer"),
    "images": (int, "train on the first so many (default: all)"),
    "monitor": (str, "attack that is watched after each epoch, as BIM(10,40), or none"),
    "monitor_images": (int, "watch it on the first so many of the test set"),
}
METAVARS = {int: "N", float: "X", str: "ATTACK"}
ABOUT = {"model": "the net", "optimizer": "the optimizer", "schedule": "steps: lr / 10 at 1/2 and 3/4 of the epochs"}
ABOUT |= {"augment": "of the images", "precision": "of training", "reset": "when carried examples start afresh"}
ABOUT |= {"labels": "what examples are pushed away from", "projection": "onto the ball, or the step alone (Eq. 3)"}
ABOUT |= {"mode": "the net's, while it is attacked", "coral": "form of Eq. 7"}


CHECKPOINT = "checkpoint.safetensors"
ATTACKS = "none (clean images), FGSM, R+FGSM, BIM(10,40), Madry(20,50)x10, CW(20,50); AutoAttack is a measure of run"
DONE = ("done", "unmeasured")  # what a run may be called that has been trained


def seconds(text: str) -> float:
    """Read ``90s``, ``9m`` or ``1.5h``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or float(found[1]) <= 0:
        raise InputError(f"budget = {text!r} is not understood; write a number above 0 with s, m or h, as in 9m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


class Parser(argparse.ArgumentParser):
    """A parser that says what was wrong in one line."""

    def __init__(self, **settings) -> None:
        self.options = []
        super().__init__(allow_abbrev=False, **settings)  # a beginning may fit another option tomorrow

    def add_argument(self, *names: str, **settings) -> argparse.Action:
        """Add an argument, and remember what it is called."""
        self.options += [name for name in names if name.startswith("--")]
        return super().add_argument(*names, **settings)

    def parse_known_args(self, *words, **settings) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and say of an option that a command has not which of its own is near."""
        found, rest = super().parse_known_args(*words, **settings)
        if unknown := [word for word in rest if word.startswith("--")]:
            self.error(f"unrecognized arguments: {' '.join(rest)}{guess(unknown[0], self.options)}")
        return found, rest

    def error(self, message: str) -> None:
        """Raise what was wrong."""
        raise InputError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = Parser(prog="python -m simadv", description="Plan, train and measure the runs of the book.")
    top.add_argument("--version", action="version", version=f"simadv {__version__}")
    names = "{plan,run,status,evaluate,compare,verify,publish}"
    commands = top.add_subparsers(dest="command", required=True, metavar=names)
    commands.add_parser("plan", help="list the runs that the chapters ask for and that are not done, with their cost")
    commands.add_parser(
        "status", help="list the runs that the chapters ask for, done, partial or missing, and your own"
    )
    run = commands.add_parser("run", help="train runs: those of the plan by id, all of it, or one of your own")
    of_training(run)
    measure = commands.add_parser("evaluate", help="measure a stored run's accuracy under an attack")
    measure.add_argument("id", metavar="ID", help="the id of a stored run, or its beginning")
    measure.add_argument("--attack", default="none", help=ATTACKS)
    measure.add_argument("--epsilon", type=float, help="default: the run's own")
    measure.add_argument("--images", type=int, help="the first so many of the test set (default: all)")
    measure.add_argument("--seed", type=int, default=0, help="of the random starts")
    compared = commands.add_parser("compare", help="show two stored runs side by side, or yours and the published one")
    compared.add_argument("a", metavar="A", help="the id of a stored run, or its beginning")
    compared.add_argument("b", metavar="B", nargs="?", help="default: your own A and the published A")
    verify = commands.add_parser("verify", help="measure every stored net again and compare with its record")
    shipped = commands.add_parser(
        "publish", help="copy finished runs that chapters ask for from your store into the book"
    )
    shipped.add_argument("ids", nargs="*", metavar="ID", help="beginnings of ids that status prints: all that are done")
    shipped.add_argument("--all", action="store_true", help="everything that is done and asked for")
    for command in (run, measure, verify):
        command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
        command.add_argument("--threads", type=int, help="CPU threads of this process")
    return top


def of_training(run: Parser) -> None:
    """Add what ``run`` alone takes: which runs, the settings of one's own, and how to go about it."""
    run.add_argument("ids", nargs="*", metavar="ID", help="beginnings of ids that plan prints: all runs that fit")
    run.add_argument("--all", action="store_true", help="everything that plan lists, in its order")
    run.add_argument("--dataset", help=f"a run of your own: {', '.join(DATASETS)}")
    run.add_argument("--method", help=f"a run of your own: {', '.join(METHODS)}")
    run.add_argument("--budget", metavar="TIME", help="stop at a checkpoint before this time is out: 90s, 9m, 1.5h")
    run.add_argument("--jobs", type=int, default=1, help="train so many planned runs side by side (default: 1)")
    run.add_argument("--again", action="store_true", help="train what is published anew, in your store, to compare it")
    run.add_argument("--alone", action="store_true", help="your word that nothing else runs on the device")
    own = run.add_argument_group("settings of a run of your own", "default: the book's, for this data set and method")
    for name, (kind, told) in VALUES.items():
        spellings = dict.fromkeys((f"--{name.rstrip('_').replace('_', '-')}", f"--{name.rstrip('_')}"))
        run.options += spellings
        own.add_argument(*spellings, dest=name, type=kind, metavar=METAVARS[kind], help=told)
    for name, told in ABOUT.items():
        run.options.append(f"--{name}")
        own.add_argument(f"--{name}", metavar="NAME", help=f"{told}: {', '.join(CHOICES[name])}")


def listing(kept: store.Store, *, todo: bool) -> None:
    """Print the chapters' runs, a line each, and below them a reader's own, which no chapter asks for.

    Raises:
        StoreError: something stored is damaged; all else is printed before.
    """
    damaged, known = {}, set()
    for chapter, asked in chapters.asked().items():
        lines = {}
        for spec, measures in asked.items():
            known.add(spec.id)
            try:
                lines[spec] = state(spec, measures, kept)
            except store.StoreError as why:
                damaged[spec.id] = str(why)
                lines[spec] = "damaged", f"  damaged             {spec.id}"
        print(f"{chapter}: {sum(word in DONE for word, _ in lines.values())} of {len(asked)} runs done")
        for word, line in lines.values():
            if not (todo and word == "done"):
                print(line)
    if own := {} if todo else of_ones_own(kept, known, damaged):
        done = sum(word == "done" for word in own.values())
        print(f"your own, in {kept.roots[0]}: {done} of {len(own)} runs done")
        print("\n".join(f"  {word:8}{name}" for name, word in own.items()))
    if damaged:
        raise store.StoreError("; ".join(dict.fromkeys(damaged.values())))


def of_ones_own(kept: store.Store, known: set[str], damaged: dict[str, str]) -> dict[str, str]:
    """Return the state of a reader's own runs, by id, but the ``known``; why one is damaged goes into ``damaged``."""
    own, states = kept.roots[0], {}
    for folder in sorted({path.parent for name in ("run.json", CHECKPOINT) for path in own.glob(f"*/*/{name}")}):
        run_id = str(folder.relative_to(own))
        if run_id in known:
            continue
        try:
            states[run_id] = "done" if (folder / "run.json").exists() and kept.get(run_id) else "partial"
        except store.StoreError as why:
            damaged[run_id], states[run_id] = str(why), "damaged"
    return states


def state(spec: RunSpec, measures: list, kept: store.Store) -> tuple[str, str]:
    """Return a run's state in a word and in a line: id, gradient passes, seconds where done, measures still to take."""
    run = kept.find(spec)
    missing = [measure.id for measure in chapters.unmeasured(run, measures, kept)] if run else []
    begun = kept.checkpoint(spec).exists()
    word = "done" if run else "partial" if begun else "missing"
    forward, backward = (count / 1e6 for count in runs.passes(spec))
    took = f"{run.cost['seconds']:8.0f} s" if run else " " * 10
    line = f"  {word:8}{took}  {forward:8.1f} M forward {backward:8.1f} M backward  {spec.id}"
    if run and begun:
        line += "  begun again, and partial"
    if missing:
        why = "not measured" if run.measurable else "stored without weights, so never to be measured"
        return "unmeasured", f"{line}  {why}: {', '.join(missing)}"
    return word, line


def wanted(arguments: argparse.Namespace, kept: store.Store) -> list[RunSpec]:
    """Return the runs that ``run`` was asked for.

    Raises:
        InputError: nothing, or nothing known, was asked for.
    """
    own = {name: given for name in {*VALUES, *CHOICES} if (given := getattr(arguments, name)) is not None}
    if own.get("monitor") == "none":
        own["monitor"] = None
    if own:
        if arguments.ids or arguments.all or arguments.jobs > 1 or not {"dataset", "method"} <= own.keys():
            raise InputError("a run of your own needs --dataset and --method, and goes with no ids, --all or --jobs")
        return [run_spec(**own)]
    if not arguments.ids and not arguments.all:
        raise InputError("nothing to run: give ids from plan, --all, or --dataset and --method")
    return planned(arguments, also=begun(kept))


def begun(kept: store.Store) -> list[RunSpec]:
    """Return the runs of a reader's own store that were begun and are not done, as their checkpoints describe them."""
    specs = []
    for path in sorted(kept.roots[0].glob(f"*/*/{CHECKPOINT}")):
        try:
            with safe_open(path, "pt") as file:
                specs.append(RunSpec(**json.loads(file.metadata()["spec"])))
        except (SafetensorError, OSError, TypeError, KeyError, ValueError) as why:
            print(f"warning: {path.parent.name} is left out: its checkpoint is damaged ({why})", file=sys.stderr)
    return specs


def planned(arguments: argparse.Namespace, *, also: list[RunSpec] = ()) -> list[RunSpec]:
    """Return the runs that chapters ask for, or all, and ``also`` others, whose id begins with one of those given.

    Raises:
        InputError: an id fits none, or ids are given and ``--all``.
    """
    ids = arguments.ids
    if ids and arguments.all:
        raise InputError("ids or --all, not both")
    known = list(dict.fromkeys(spec for asked in chapters.asked().values() for spec in asked))
    chosen, known = [] if ids else known, [*known, *also]
    for text in ids:
        fitting = [spec for spec in known if spec.id.startswith(text)]
        if not fitting:
            raise InputError(f"id {text!r} fits no planned run; python -m simadv plan lists them")
        chosen += fitting
    return list(dict.fromkeys(chosen))


def stored(text: str, kept: store.Store) -> store.Run:
    """Return the one stored run whose id is ``text`` or begins with it.

    Raises:
        InputError: it fits none, or several.
    """
    ids = kept.ids()
    fitting = [text] if text in ids else [run_id for run_id in ids if run_id.startswith(text)]
    if len(fitting) == 1:
        return kept.get(fitting[0])
    if fitting:
        some = ", ".join(fitting[:3]) + (", ..." if fitting[3:] else "")
        raise InputError(f"id {text!r} fits {len(fitting)} stored runs ({some}); write more of it")
    places = " or ".join(str(root) for root in kept.roots)
    raise InputError(
        f"id {text!r} fits no run in {places}{guess(text, ids)}; python -m simadv status says which are done"
    )


def measures_of(spec: RunSpec) -> list:
    """Return what all chapters measure of a run, each once."""
    return list(dict.fromkeys(measure for asked in chapters.asked().values() for measure in asked.get(spec, ())))


def side_by_side(specs: list[RunSpec], arguments: argparse.Namespace, limit: float | None) -> None:
    """Train planned runs in processes, ``--jobs`` at a time, each as ``run ID`` would; a stop reaches them all.

    Raises:
        Unfinished: some did not come to their end; they said why.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threads = arguments.threads or max(1, (os.cpu_count() or 1) // arguments.jobs)
    waiting, running, failed, late = list(enumerate(specs)), {}, [], []
    try:
        while waiting or running:
            if limit is not None and time.monotonic() > limit:
                late += [spec.id for _, spec in waiting]
                waiting.clear()
            while waiting and len(running) < arguments.jobs:
                turn, spec = waiting.pop(0)
                left = [] if limit is None else ["--budget", f"{max(1, limit - time.monotonic()):.0f}s"]
                place = {"TQDM_POSITION": str(turn % arguments.jobs), "OMP_NUM_THREADS": str(threads)}
                left += ["--again"] * arguments.again
                command = [sys.executable, "-m", "simadv", "run", spec.id, "--device", arguments.device, *left]
                running[subprocess.Popen(command, env=os.environ | place)] = spec
            for process in [process for process in running if process.poll() is not None]:
                failed += [running.pop(process).id] * (process.returncode != 0)
            time.sleep(0.1)
    finally:
        for process in running:
            process.terminate()  # it saves what it did
        for process in running:
            process.wait()
    if failed or late:
        told = {"not done": failed, "time was up before": late}
        raise runs.Unfinished("; ".join(f"{why}: {', '.join(ids)}" for why, ids in told.items() if ids))


def train(arguments: argparse.Namespace, kept: store.Store) -> None:
    """Train what was asked for, one run after the other, until the budget is used up."""
    limit = None if arguments.budget is None else time.monotonic() + seconds(arguments.budget)
    runs.pick_device(arguments.device)
    specs = wanted(arguments, kept)
    if arguments.again:
        kept = store.Store(kept.roots[0])
    if whole("jobs", arguments.jobs, least=1) > 1:
        if arguments.alone:
            raise InputError("--alone goes with one run at a time; with --jobs none has the device to itself")
        side_by_side(specs, arguments, limit)
        if failed := take_what_waited(specs, kept, deadline=limit, device=arguments.device):
            raise runs.Unfinished(f"not done: {', '.join(failed)}")
        return
    one_by_one(specs, kept, deadline=limit, alone=arguments.alone, device=arguments.device)


def one_by_one(specs: list[RunSpec], kept: store.Store, *, deadline: float | None, **options) -> None:
    """Train and measure runs one after the other; one that fails is told, and the others go on.

    Raises:
        Unfinished: time is up, or of several some failed. What failed: it was the only one.
    """
    failed = []
    for spec in specs:
        if deadline is not None and time.monotonic() > deadline:
            raise runs.Unfinished(f"{spec.id}: time is up before it began")
        try:
            run = chapters.complete(spec, measures_of(spec), store=kept, deadline=deadline, **options)
        except OF_A_RUN as why:
            if len(specs) == 1:
                raise type(why)(_of(spec, why)) from why
            print(f"error: {_of(spec, why)}", file=sys.stderr)
            failed.append(spec.id)
            continue
        last = ", ".join(f"{name} {value:.4g}" for name, value in run.history[-1].items())
        print(f"{spec.id}: done, {run.cost['seconds']:.0f} s, {last}", flush=True)
    failed += take_what_waited([s for s in specs if s.id not in failed], kept, deadline=deadline, **options)
    if failed:
        raise runs.Unfinished(f"not done: {', '.join(failed)}")


def _of(spec: RunSpec, why: Exception) -> str:
    """Return what stopped a run, with its id, which most errors name themselves."""
    return str(why) if spec.id in str(why) else f"{spec.id}: {why}"


def take_what_waited(specs: list[RunSpec], kept: store.Store, **options) -> list[str]:
    """Take the measures of stored runs that had to wait for another run, as examples made for its net do.

    Returns:
        The runs of which something failed or had no time, each of which is told.
    """
    failed = []
    for spec in specs:
        try:
            run = kept.get(spec.id)
            if run.measurable and chapters.unmeasured(run, measures_of(spec), kept):
                chapters.complete(spec, measures_of(spec), store=kept, **options)
        except OF_A_RUN as why:
            print(f"error: {_of(spec, why)}", file=sys.stderr)
            failed.append(spec.id)
    return failed


def measure(arguments: argparse.Namespace, kept: store.Store) -> None:
    """Measure a run and print its accuracy under both label conventions."""
    run = stored(arguments.id, kept)
    spec = EvalSpec(attack=arguments.attack, epsilon=arguments.epsilon, images=arguments.images, seed=arguments.seed)
    result = take(run, spec, store=kept, device=arguments.device)
    shares = {labels: 100 * result[labels] / result["images"] for labels in ("true", "predicted")}
    print(f"{run.spec.id} under {spec.attack}, {result['images']} images:", end=" ")
    print(f"{shares['true']:.2f} % (true labels), {shares['predicted']:.2f} % (predicted labels)")
    if not run.measurable:
        print("warning: stored without its weights, so not checked for masked gradients", file=sys.stderr)
        return
    try:
        for doubt in doubts.of_run(run, spec, store=kept, device=arguments.device):
            print(f"warning: not to be trusted: {doubt}", file=sys.stderr)
    except store.StoreError:
        raise
    except InputError as why:  # a stored result needs no data; the check does
        print(f"warning: not checked for masked gradients: {why}", file=sys.stderr)


def compare(arguments: argparse.Namespace, kept: store.Store) -> None:
    """Print how two runs differ in settings, accuracy and cost."""
    if arguments.b is None:
        try:
            a, b = (stored(arguments.a, store.Store(root)) for root in kept.roots)
        except InputError as why:
            needs = "with one id, compare takes a run of your own (run ID --again makes it) and the published one"
            raise InputError(f"{why}; {needs}; else give two ids") from None
        names = f"{a.spec.id}, your own", f"{b.spec.id}, as published"
    else:
        a, b = (stored(text, kept) for text in (arguments.a, arguments.b))
        names = a.spec.id, b.spec.id
    if a.spec.dataset != b.spec.dataset:
        raise InputError(f"{names[0]} and {names[1]} are of two data sets; only runs of one can be compared")
    settings, table = audit.compare(kept, a, b)
    print(f"A: {names[0]}\nB: {names[1]}\nsettings that differ (A != B): {'; '.join(settings) or 'none'}")
    print(f"accuracy in %, with the 95 % interval of the test set:\n{table.to_string()}")


def verify(arguments: argparse.Namespace, kept: store.Store) -> None:
    """Print every stored accuracy beside the one that its net has now.

    Raises:
        StoreError: one of them is off.
    """
    wrong = count = 0
    for check in audit.verify(kept, device=arguments.device):
        wrong, count = wrong + (not check.holds), count + 1
        figures = f"stored {check.stored:.2f} %, measured {check.measured:.2f} %"
        print(f"{'ok ' if check.holds else 'OFF'} {check.run} {check.attack}: {figures}", flush=True)
    print(f"{count} stored accuracies were measured again")
    if wrong:
        raise store.StoreError(f"{wrong} stored accuracies are off by more than {audit.WITHIN} points")


def ship(arguments: argparse.Namespace, kept: store.Store) -> None:
    """Copy runs that are done into the published store, as :mod:`simbook.publish` allows.

    Raises:
        InputError: nothing, or nothing that is done, was asked for.
    """
    if not arguments.ids and not arguments.all:
        raise InputError("nothing to publish: give beginnings of ids that status prints, or --all")
    found = [run for spec in planned(arguments) if (run := kept.find(spec)) is not None]
    if not found:
        raise InputError("nothing to publish: none of these runs is done")
    target, plan = store.PUBLISHED, {}
    for run in found:
        shipped = publish.files(run, measures_of(run.spec), kept)
        plan[run.spec.id] = publish.missing(shipped, target / run.spec.id)
    publish.publish(plan, target)
    for run in found:
        new, lacking = plan[run.spec.id], chapters.unmeasured(run, measures_of(run.spec), kept)
        line = f"{run.spec.id}: {', '.join(new) or 'nothing new'}"
        print(line + (f"  not measured: {', '.join(measure.id for measure in lacking)}" if lacking else ""))


def main(words: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 done, 1 diverged or the disk is full, 2 bad input, 3 time is up, 130 Ctrl-C, 141 nobody reads on.
    """
    # one line, without the place in the code that means nothing to who reads it
    warnings.showwarning = lambda message, *rest, **more: print(f"warning: {message}", file=sys.stderr)
    if words is None:  # a process of its own: what ends it must not leave a worker or its files behind
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        arguments = parser().parse_args(words)
        kept = store.default()
        if getattr(arguments, "threads", None) is not None:
            torch.set_num_threads(number("threads", whole("threads", arguments.threads, least=1), most=os.cpu_count()))
        if arguments.command in ("plan", "status"):
            listing(kept, todo=arguments.command == "plan")
        else:
            act = {"run": train, "evaluate": measure, "compare": compare, "verify": verify, "publish": ship}
            act[arguments.command](arguments, kept)
        sys.stdout.flush()
    except BrokenPipeError:  # ``plan | head``: who reads has read enough, and the end of Python would say so again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except tuple(EXITS) as stop:
        plain = isinstance(stop, KeyboardInterrupt | runs.Unfinished)
        print(str(stop) or "stopped" if plain else f"error: {stop}", file=sys.stderr)
        return next(code for kind, code in EXITS.items() if isinstance(stop, kind))
    return 0
