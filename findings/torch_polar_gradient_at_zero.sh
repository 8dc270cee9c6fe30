#!/usr/bin/env bash
# The gradient of torch.polar with respect to its absolute value is 0 where the value is 0, and has the wrong sign below.
#
# Versions: torch 2.13.0 (CPU). Source: derivatives of operations compared with differences of the operations themselves.
# A good guess: polar(r, t) = r·exp(it) is linear in r, so its real part has the derivative cos t for every r.
# What happens: the derivative is that of multiplying by the sign of the result: cos t for r > 0, 0 for r = 0, −cos t for
# r < 0, although the operation itself computes r·exp(it) for all three.
# What a user gets wrong: a magnitude that starts at 0 (a spectral mask, a learned filter, a spectrogram's silent bins)
# receives no gradient and never moves; one that passes below 0 is pushed the wrong way. r·torch.exp(1j·t) is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.0 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)
angle = torch.full((3,), 0.3, dtype=torch.float64)


def gradient(function) -> torch.Tensor:
    size = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64, requires_grad=True)
    function(size).real.sum().backward()
    return size.grad


polar = gradient(lambda size: torch.polar(size, angle))
product = gradient(lambda size: size * torch.exp(1j * angle))
step = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
moved = (torch.polar(step + 1e-6, angle) - torch.polar(step - 1e-6, angle)).real / 2e-6
print("sizes                        ", step.tolist())
print("differences of torch.polar   ", moved.tolist())
print("gradient of torch.polar      ", polar.tolist())
print("gradient of size * exp(i t)  ", product.tolist())
assert torch.allclose(moved, product), "the operation itself is linear in the size"
assert polar[1] == 0 and torch.allclose(polar[2], -product[2]), "the behaviour has changed"
PYTHON
echo "seen as described"
