"""``python -m blindspace``."""

from .cli.entry import main

main()
