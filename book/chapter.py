"""Rerun one chapter: papermill's own command line, but what stopped the chapter is the last line, not its caller's."""

import sys

from papermill.cli import papermill
from papermill.exceptions import PapermillExecutionError


def main(words: list[str] | None = None) -> None:
    """Run ``papermill`` on its options and paths; a parameter that is wrong is told in one line."""
    try:
        papermill(words)
    except PapermillExecutionError as error:
        if error.ename != "ParameterError":
            print(*error.traceback, sep="\n", file=sys.stderr)
        raise SystemExit(f"{error.ename}: {error.evalue}") from None


if __name__ == "__main__":
    main()
