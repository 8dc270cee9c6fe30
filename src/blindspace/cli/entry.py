"""Start of the ``blindspace`` program: Ctrl-C may come while Python still imports the command line."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from .main import main as run
    except KeyboardInterrupt:
        print("blindspace: interrupted before it began", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
