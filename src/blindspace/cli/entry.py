"""Start of the ``blindspace`` program: Ctrl-C may come, and imports may fail, before there is a command line."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from .main import main as run
    except KeyboardInterrupt:
        print("blindspace: interrupted before it began", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        print(f"blindspace: the installation is incomplete: {error}; install blindspace again", file=sys.stderr)
        sys.exit(70)
    run()


if __name__ == "__main__":
    main()
