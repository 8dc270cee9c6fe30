#!/usr/bin/env bash
# An attack of foolbox adds gradients to the parameters of the network that it attacks.
#
# Versions: foolbox 3.3.4, torch 2.13.0 (CPU), CPython 3.11. Source: found when the time of L2 PGD was profiled, a third of
# which went into gradients of weights that nobody asked for.
# A good guess: an attack only needs the gradient with respect to the image, so it leaves the network as it was; torch has
# torch.autograd.grad for that.
# What happens: the gradient is computed by loss.backward(), which adds the gradients of every step to .grad of every
# parameter that requires one.
# What a user gets wrong: in adversarial training with optimiser.zero_grad() before the attack (a usual place, at the top of
# the loop), the step that follows is that of the loss plus those of all steps of the attack, which are sums over the batch
# where training takes means: forty times too long here, and towards the wrong labels if the attack is targeted. Nothing
# fails. The attack also takes longer than it needs to.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet foolbox==3.3.4 torch==2.13.0 numpy==2.4.0 setuptools==80.9.0 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import foolbox
import torch
import torch.nn.functional as F

print("foolbox", version("foolbox"), "with torch", torch.__version__, "on Python", sys.version.split()[0])
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
weight = network[1].weight


def step(zero_after_the_attack: bool) -> torch.Tensor:
    """The gradient of one step of adversarial training."""
    network.zero_grad()
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2PGD(steps=5, random_start=False)
    _, attacked, _ = attack(model, images, labels, epsilons=0.5)
    print("  after the attack the weights have a gradient:", weight.grad is not None and bool(weight.grad.any()))
    assert weight.grad is not None and bool(weight.grad.any()), "the behaviour has changed: no gradient is left"
    if zero_after_the_attack:
        network.zero_grad()
    F.cross_entropy(network(attacked), labels).backward()
    return weight.grad.clone()


meant, taken = step(True), step(False)
print(f"norm of the gradient that is meant {meant.norm():.3f}, of the one that is taken {taken.norm():.3f}")
assert taken.norm() > 5 * meant.norm(), "the behaviour has changed: the gradients of the attack are not added"
PYTHON
echo "seen as described"
