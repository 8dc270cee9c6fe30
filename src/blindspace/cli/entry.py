"""Where the ``blindspace`` program begins: importing torch takes seconds, and Ctrl-C may come before it is done."""

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
