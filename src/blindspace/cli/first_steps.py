"""What ``blindspace`` alone says: the first commands to try, each of which runs as it stands."""

STEPS = {
    "blindspace audit mnist-mlp": "what a built-in network cannot see, certified",
    "blindspace perturb samples -m mnist-mlp -o changed.npz": "changes to images that it cannot notice",
    "blindspace verify samples changed.npz -m mnist-mlp": "proof that it reads both alike",
    "blindspace audit mnist-mlp --report page": "all of it as a page with pictures, page/index.html",
    "blindspace app": "the same in a browser, on images of yours",
}
"""Commands, and what each of them shows."""


def first_steps() -> str:
    """The message, of lines that fit a terminal of 80 columns."""
    return "\n".join(
        [
            "Blindspace finds, proves and uses what a neural network cannot see. To begin:",
            "",
            *(line for command, what in STEPS.items() for line in (f"  # {what}", f"  {command}", "")),
            "blindspace --help lists all commands, blindspace COMMAND --help explains one.",
        ]
    )
