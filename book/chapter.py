"""Rerun one chapter: papermill's own command line, but what stopped the chapter is the last line, not its caller's.

The output is written once the chapter was executed to its end: what an earlier call left there stays till then.
"""

import sys
from pathlib import Path

import click
from papermill.cli import papermill
from papermill.exceptions import PapermillExecutionError


def main(words: list[str] | None = None) -> None:
    """Run ``papermill`` on its options and two paths; a parameter that is wrong is told in one line."""
    *options, chapter, output = sys.argv[1:] if words is None else words
    if options[-2:-1] == ["-p"]:  # papermill would take the chapter for the value
        raise SystemExit(f"-p {options[-1]} needs a value")
    begun = Path(output).with_suffix(".begun.ipynb")
    try:
        papermill([*options, chapter, str(begun)], standalone_mode=False)
    except PapermillExecutionError as error:
        if error.ename != "ParameterError":
            print(*error.traceback, sep="\n", file=sys.stderr)
        raise SystemExit(f"{error.ename}: {error.evalue}") from None
    except (KeyboardInterrupt, click.Abort):
        raise SystemExit("stopped: what was trained is saved, and the same command goes on") from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    begun.replace(output)


if __name__ == "__main__":
    main()
