#!/usr/bin/env bash
# The first arithmetic operation on a meta tensor imports torch's compiler.
#
# Versions: torch 2.13.0 (CPU), CPython 3.11. Source: found when the start-up of a command-line program was profiled,
# which used meta tensors to determine output shapes "for free".
# A good guess: tensors on device "meta" have no values, so an operation on them only computes a shape, in microseconds.
# What happens: creating such a tensor is cheap, but the first operation that goes through a Python meta kernel
# (here: adding a number) imports torch._dynamo and SymPy, more than 500 modules and over a second of processor time.
# What a user gets wrong: a program that replaces a small real computation by one on meta tensors to save time becomes
# slower; for small tensors, running the module on zeros is cheaper than asking for its output shape.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.0 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

import torch


def loaded(name: str) -> int:
    return sum(module == name or module.startswith(name + ".") for module in sys.modules)


print("torch", torch.__version__, "on Python", sys.version.split()[0])
tensor = torch.empty(2, 3, device="meta")
assert not loaded("torch._dynamo"), "creating the tensor imports the compiler already"
print("after torch.empty(2, 3, device='meta'): modules of torch._dynamo:", loaded("torch._dynamo"))

start = time.process_time()
tensor + 1
first = time.process_time() - start
start = time.process_time()
tensor + 1
second = time.process_time() - start
print("after one addition: modules of torch._dynamo:", loaded("torch._dynamo"), "and of sympy:", loaded("sympy"))
print(f"processor time of the first addition {first:.3f} s, of the second {second:.6f} s")
assert loaded("torch._dynamo") and loaded("sympy"), "the behaviour has changed: the compiler is no longer imported"

start = time.process_time()
torch.zeros(2, 3) + 1
print(f"processor time of the same addition on real zeros {time.process_time() - start:.6f} s")
PYTHON
echo "seen as described"
