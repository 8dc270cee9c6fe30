"""What the commands for whole collections print of them, whatever was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

from ..collections import Totals
from ..files import readable


def show_run(screen: Console, totals: Totals) -> None:
    """Print how the run went."""
    if totals.done_before:
        screen.print(f"  done before            {totals.done_before} of {totals.shards} shards")
    if totals.images_per_second:
        screen.print(f"  speed                  {totals.images_per_second:.3g} pictures per second")


def show_rest(screen: Console, totals: Totals, what: str, done: int, lost: Mapping[str, str], left: str) -> None:
    """Print which pictures something was not done with, and which files hold none.

    Args:
        screen: The console.
        totals: The totals.
        what: What was not done with them, such as ``not protected``.
        done: Number of pictures that it was done with.
        lost: Names and reasons of the first others.
        left: What became of members and columns that hold pictures where the user named others.
    """
    for name, reason in lost.items():
        screen.print(f"  [red]{what}[/red]  {printed(name)}: {printed(reason)}")
    more = totals.images - done - len(lost)
    if more:
        screen.print(f"  [red]{what}[/red]  {more} more, in manifest.jsonl")
    if totals.carried_over:
        screen.print(f"  {left:<22} --pictures names others{some(totals.carried_over)}")
    if totals.others:
        screen.print(f"  no pictures, left in SRC{some(totals.others)}")


def show_dropped(screen: Console, word: str, dropped: Mapping[str, int], done: int) -> None:
    """Print in how many pictures something was dropped or not read, by what it is."""
    for what, count in dropped.items():
        screen.print(f"  {f'{word}: {what}':<22} in {count} of {done}")


def some(names: Sequence[str], most: int = 3) -> str:
    """A few names after a colon; nothing for none."""
    if not names:
        return ""
    return printed(f": {', '.join(names[:most])}" + (", …" if len(names) > most else ""))


def printed(name: str) -> str:
    """A name on one line of the screen, whatever is in it."""
    return escape("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in readable(name)))
