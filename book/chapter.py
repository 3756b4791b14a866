"""Rerun one chapter: papermill's own command line, but what stopped the chapter is the last line, not its caller's.

The output is written once the chapter was executed to its end: what an earlier call left there stays till then, and
what a chapter that stopped has got to is beside it, in OUTPUT.begun.ipynb.
"""

import re
import signal
import sys
import threading
from pathlib import Path

import click
import nbformat
import psutil
from papermill.cli import papermill
from papermill.exceptions import PapermillExecutionError

USAGE = "\nusage: chapter.py [papermill's options] CHAPTER.ipynb OUTPUT.ipynb"
STOPPED = "stopped: what was trained is saved, and the same command goes on"


def main(words: list[str] | None = None) -> None:
    """Run ``papermill`` on its options and two paths; a parameter that is wrong is told in one line."""
    words = sys.argv[1:] if words is None else words
    if {"-h", "--help"} & set(words):
        print(__doc__ + USAGE)
        return
    if len(words) < 2:
        raise SystemExit(__doc__ + USAGE)
    *options, chapter, output = words
    if sys.stderr.isatty():  # the bars of what trains, beside papermill's own of the cells
        options = ["--stderr-file", "/dev/stderr", *options]
    if options[-2:-1] == ["-p"]:  # papermill would take the chapter for the value
        raise SystemExit(f"-p {options[-1]} needs a value")
    begun = Path(output).with_suffix(".begun.ipynb")
    interrupted = stop_with_the_kernel()
    try:
        papermill([*options, chapter, str(begun)], standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        interrupted.set()
    except Exception as error:
        if not interrupted.is_set():  # else it is of a kernel that was ended
            raise SystemExit(told(error)) from None
    if interrupted.is_set():
        raise SystemExit(STOPPED)
    executed = nbformat.read(begun, as_version=4)
    drop_bars(executed)
    nbformat.write(executed, begun)
    begun.replace(output)


def drop_bars(notebook: nbformat.NotebookNode) -> None:
    """Drop each look of a progress bar from what a notebook printed: it begins by returning the carriage."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output.text = re.sub(r"\r[^\r\n]*", "", output.text)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text", "shown").strip()]


def stop_with_the_kernel() -> threading.Event:
    """Let Ctrl-C end the kernel, which saves what it trains, and return the event that it sets.

    The interrupt alone would not do: one that comes while a library looks after its sockets may be lost there.
    """
    interrupted = threading.Event()

    def stop(*_) -> None:
        interrupted.set()
        for kernel in psutil.Process().children():
            kernel.terminate()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    return interrupted


def told(error: Exception) -> str | int:
    """Return the last line of what stopped a chapter, or the exit code of what was told already; else raise it."""
    if isinstance(error, PapermillExecutionError):
        if error.ename != "ParameterError":
            print(*error.traceback, sep="\n", file=sys.stderr)
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    raise error


if __name__ == "__main__":
    main()
