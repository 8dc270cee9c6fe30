#!/usr/bin/env bash
# The least noticeable eigendistortion of plenoptic's power method is never one that the model does not notice at all.
#
# Versions: plenoptic 2.1.1, torch 2.13.0 (CPU), CPython 3.11. Source: found when the method was measured beside one that
# forms the Jacobian, which has null directions.
# A good guess: where a model has fewer outputs than inputs, F = JᵀJ has the eigenvalue 0, and the least noticeable
# distortion, the eigenvector of the smallest eigenvalue, is a null direction. The method
# "exact" finds one, and the power method converges to it from almost every random start.
# What happens: the start v is random, but is replaced by F v before the shifted iteration v ← (F − λ_max I) v begins. F v
# lies in the row space of J, which the iteration never leaves: it converges to the smallest eigenvalue that is not 0.
# Rounding alone puts a null component in, which grows by a factor of 1 / (1 − λ / λ_max) per step, so that the criterion
# of convergence is met long before it counts.
# What a user gets wrong: the distortion that is reported as the least noticeable one changes the outputs (here its
# eigenvalue is a quarter of the largest), while 13 of 16 directions change nothing. Nothing warns; the method is the default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet plenoptic==2.1.1 torch==2.13.0 numpy==2.4.0 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys
from importlib.metadata import version

import plenoptic
import torch

print("plenoptic", version("plenoptic"), "with torch", torch.__version__, "on Python", sys.version.split()[0])
torch.manual_seed(0)


class Linear(torch.nn.Module):
    """A layer of 3 outputs and 16 inputs with the singular values 2, 1.5 and 1."""

    def __init__(self) -> None:
        super().__init__()
        left, right = (torch.linalg.qr(torch.randn(n, 3, dtype=torch.float64)).Q for n in (3, 16))
        self.register_buffer("weight", left @ torch.tensor([2.0, 1.5, 1.0], dtype=torch.float64).diag() @ right.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.weight.T)[:, :, None, None]


model = Linear().eval()
image = torch.rand(1, 1, 4, 4, dtype=torch.float64)
changes = {}
for method in ("exact", "power"):
    found = plenoptic.Eigendistortion(image, model)
    found.synthesize(method=method, max_iter=1000)
    least = found.eigendistortions[-1]
    change = float((model(image + least.reshape(image.shape)) - model(image)).norm())
    changes[method] = change
    print(f"{method}: eigenvalue {float(found.eigenvalues[-1]):.2e}, the outputs change by {change:.2e}")
assert changes["exact"] < 1e-7, "the behaviour has changed: the exact method finds no null direction"
assert changes["power"] > 0.9, "the behaviour has changed: the power method finds a null direction"
PYTHON
echo "seen as described"
