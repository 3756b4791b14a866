"""The command line, ``python -m simadv``. Its commands speak of chapters, so they live with the book's own code."""

try:
    from simbook.commands import main
except KeyboardInterrupt:  # torch takes seconds to import
    raise SystemExit(130) from None

if __name__ == "__main__":
    raise SystemExit(main())
