"""The parameters of the chapters: what is misspelt or out of range stops each in its second cell, before any work."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time

import nbformat
import papermill
import pytest
import yaml
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from sphinx_external_toc.parsing import parse_toc_yaml
from test_chapters import BOOK, EVALUATION, ROOT, code_cells, environment, read, warm_kernel

from simadv.checks import InputError
from simadv.store import Store
from simbook.settings import EvaluationSettings as Settings

CHAPTERS = [path for page in parse_toc_yaml(ROOT / "_toc.yml") if (path := ROOT / f"{page}.ipynb").exists()]
BAD = {
    "misspelt": ("epocs", 2, r"parameter = 'epocs' is not known \(did you mean 'epochs'\?\)"),
    "text": ("epochs", yaml.safe_load("1e-4"), r"epochs = '1e-4' must be a whole number"),
    "unknown profile": ("profile", "publised", r"profile = 'publised' is not known \(did you mean 'published'\?\)"),
    "unknown data set": ("dataset", "mnits", r"dataset = 'mnits' is not known \(did you mean 'mnist'\?\)"),
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A warm kernel and the folder that it would store runs in."""
    store = tmp_path_factory.mktemp("store") / "runs"
    with warm_kernel(store) as once:
        yield store, once


def first_cells(notebook):
    """The first code cells up to the check of the parameters, which is the second, and which papermill adds to."""
    sources = [cell.source for cell in code_cells(notebook)]
    return sources[: 1 + next(i for i, source in enumerate(sources) if "Settings.check(globals())" in source)]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_the_second_cell_checks_the_parameters(chapter, kernel):
    store, once = kernel
    notebook = read(chapter)
    cells = first_cells(notebook)
    assert len(cells) == 2
    (shown,) = once(cells)[1]
    for name in papermill.inspect_notebook(notebook):
        assert f"{name}=" in shown
    assert not store.exists()


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_bad_parameter_stops_every_chapter_in_its_second_cell(chapter, bad, kernel):
    name, value, message = BAD[bad]
    store, once = kernel
    # papermill's own words for what a reader passes, in a cell below the parameters
    parameters, injected, check = first_cells(parameterize_notebook(load_notebook_node(str(chapter)), {name: value}))
    assert repr(value).strip("'") in injected
    once([parameters, injected])
    with pytest.raises(AssertionError, match=message) as stopped:
        once([parameters, injected, check])
    assert "ParameterError" in str(stopped.value)
    assert "Traceback" not in str(stopped.value), "the message alone"
    assert not store.exists()


def execute(tmp_path, *words):
    command = [
        sys.executable,
        BOOK / "chapter.py",
        "--cwd",
        BOOK,
        "-k",
        "python3",
        *words,
        EVALUATION,
        tmp_path / "out.ipynb",
    ]
    return subprocess.run(command, env=environment(tmp_path / "runs"), capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "epocs", "2"], r"parameter = 'epocs' is not known \(did you mean 'epochs'\?\)"),
        (["-y", "lr: 1e-4"], r"lr = '1e-4' must be a finite number"),
        (["-p", "profile", "publised"], r"profile = 'publised' is not known \(did you mean 'published'\?\)"),
    ],
)
def test_a_bad_parameter_is_told_in_the_last_line(words, message, tmp_path):
    (tmp_path / "out.ipynb").write_text("an earlier one")
    done = execute(tmp_path, *words)
    assert done.returncode == 1
    assert re.match(f"ParameterError: {message}", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out.ipynb").read_text() == "an earlier one", "it is replaced by one that ran to its end"
    ran = [cell for cell in code_cells(read(tmp_path / "out.begun.ipynb")) if cell.execution_count is not None]
    # papermill adds a cell with what was injected; the next one is the check
    assert len(ran) == 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"dataset": "mnits"}, "did you mean 'mnist'"),
        ({"profile": "digits", "dataset": "mnist"}, "dataset = .mnist. is not known; allowed: all, digits"),
        ({"method": "pgd"}, "allowed: all, vanilla"),
        ({"epochs": 2.5}, "epochs = 2.5 must be a whole number"),
        ({"epochs": -1}, "at least 0"),
        ({"seed": "0"}, "seed = '0' must be a whole number"),
        ({"train": "true"}, "train = 'true' must be True or False"),
        ({"lr": -1e-3}, "at least 0"),
        ({"device": "cuda:9"}, "GPUs are here"),
        ({"device": "gpu"}, "allowed: auto, cpu, cuda"),
    ],
)
def test_bad_settings(names, message):
    with pytest.raises(InputError, match=message):
        Settings.check(names)


def of_one_cell(tmp_path, source):
    """The command that reruns a chapter of one cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, id="one")])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    return [sys.executable, BOOK / "chapter.py", "-k", "python3", tmp_path / "in.ipynb", tmp_path / "out.ipynb"]


@pytest.mark.parametrize(
    ("words", "message"), [(["-p", "epochs"], "-p epochs needs a value"), (["--papram", "1"], "No such option")]
)
def test_a_wrong_option_is_told_and_nothing_runs(words, message, tmp_path):
    done = execute(tmp_path, *words)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.ipynb"))


def test_ctrl_c_is_told_in_one_line(tmp_path):
    touch = f"pathlib.Path({str(tmp_path / 'on')!r}).touch()"
    command = of_one_cell(tmp_path, f"import pathlib, time; {touch}; time.sleep(60)")
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "on").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    said = ""
    while not said:
        os.killpg(running.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, said = running.communicate(timeout=20)
    assert running.returncode == 1
    assert said.splitlines()[-1] == "stopped: what was trained is saved, and the same command goes on"
    assert not (tmp_path / "out.ipynb").exists()


def test_a_bar_is_shown_on_the_terminal_and_what_is_no_bar_is_kept(tmp_path):
    bar = "for i in range(3): print(f'\\r{i} of 3', end='', file=sys.stderr, flush=True)"
    cell = f"import sys\nprint('a warning', file=sys.stderr, flush=True)\n{bar}\nprint('done')"
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    command = of_one_cell(tmp_path, cell)
    done = subprocess.run(command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, timeout=120)
    os.close(terminal)
    shown = os.read(screen, 65536).decode()
    os.close(screen)
    assert done.returncode == 0, shown
    assert "\r2 of 3" in shown
    (one,) = read(tmp_path / "out.ipynb").cells
    assert {(out.name, out.text) for out in one.outputs} == {("stderr", "a warning\n"), ("stdout", "done\n")}


def test_what_else_stops_a_chapter_is_told_below_its_traceback(tmp_path):
    done = subprocess.run(of_one_cell(tmp_path, "1 / 0"), capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "papermill/execute.py" not in done.stderr, "the chapter's, not papermill's"
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_reader_s_own_parameters_train(tmp_path):
    done = execute(tmp_path, "-p", "dataset", "digits", "-p", "method", "vanilla", "-p", "epochs", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    (run_id,) = Store(tmp_path / "runs").ids()
    assert run_id.startswith("digits/vanilla-e1-")


@pytest.mark.parametrize(("words", "code"), [([], 1), (["one.ipynb"], 1), (["--help"], 0)])
def test_too_few_words_are_answered_with_the_usage(words, code):
    done = subprocess.run([sys.executable, BOOK / "chapter.py", *words], capture_output=True, text=True)
    assert done.returncode == code
    assert (done.stdout or done.stderr).splitlines()[
        -1
    ] == "usage: chapter.py [papermill's options] CHAPTER.ipynb OUTPUT.ipynb"
    assert "Traceback" not in done.stderr
