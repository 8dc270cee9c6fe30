#!/usr/bin/env bash
# setuptools and pip: a process that has imported pip cannot import setuptools on Python before 3.12.
#
# Versions: setuptools 80.9.0, pip 25.3, CPython 3.11. Source: a test that called pip's internals, after which a test of
# torch failed that had passed alone.
# A good guess: two installed packages can be imported in either order.
# What happens: pip imports the distutils of the standard library. setuptools brings its own, and asserts that nobody
# was first: an AssertionError that holds the path of distutils/core.py alone. The other order works.
# What a user gets wrong: whatever imports setuptools lazily fails by the history of the process: torch.testing and
# torch.utils.cpp_extension, say, in a test run in which another test had asked pip something. Importing setuptools
# first, or calling pip as a program, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -c 'import sys; assert sys.version_info < (3, 12), "Python 3.12 has no distutils; run this with 3.11"'
"$python" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet "pip==25.3" "setuptools==80.9.0" 2>/dev/null
cd "$folder"
first=$(./env/bin/python -W ignore -c 'import pip, setuptools; print("both imported")' 2>&1 | tail -1) || true
second=$(./env/bin/python -W ignore -c 'import setuptools, pip; print("both imported")' 2>&1 | tail -1) || true
./env/bin/python -W ignore -c 'import setuptools, pip; print("setuptools", setuptools.__version__, "pip", pip.__version__)'
echo "pip first: ${first/\/*\//…/}"
echo "setuptools first: $second"
[[ "$first" == AssertionError*distutils/core.py && "$second" == "both imported" ]] || { echo "the behaviour has changed"; exit 1; }
echo "seen as described"
