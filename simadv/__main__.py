"""The command line, ``python -m simadv``. Its commands speak of chapters, so they live with the book's own code."""

import sys

from simbook.commands import main

if __name__ == "__main__":
    sys.exit(main())
