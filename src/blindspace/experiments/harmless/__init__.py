"""The tables and figures of the paper on harmless perturbations (arXiv 2402.02095), and what goes beyond it.

Each is a file with one ``EXPERIMENT``. To add one, write its file and name it in ``NAMES``.
"""

NAMES = (
    "fig1",
    "fig2",
    "fig4",
    "fig5a",
    "fig5b",
    "table1",
    "table2",
    "fig6",
    "fig7",
    "fig8",
    "norm-saving",
    "blackbox",
    "formula",
    "leak",
    "identify",
)
