#!/usr/bin/env bash
# scikit-dimension's maximum-likelihood estimator returns dimension 0 as soon as two of the points are equal.
#
# Versions: scikit-dimension 0.5.0, scikit-learn 1.9.1, numpy 2.4, CPython 3.11. Source: estimators compared on sets of
# known dimension before one was chosen; image data sets contain equal images.
# A good guess: one pair of equal points among a thousand changes an average over all points by about a thousandth; the
# library's TwoNN, given the same points, drops them with a warning.
# What happens: skdim.id.MLE().fit(points).dimension_ is 0.0 (the points fill a cube of 3 dimensions); the only sign is a
# RuntimeWarning about a division. A distance of 0 makes the estimate at both points 0, and the harmonic mean over all points
# is then 0. TwoNN drops points only where the computed distance is exactly 0: if half of the points in more than 15
# dimensions are copies, rounding leaves distances near 1e-8, which are kept, and the estimate for 5 dimensions is below 1.
# What a user gets wrong: "the data have intrinsic dimension 0"; with comb="mean" the figure looks right and hides the cause.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet scikit-dimension==0.5.0 scikit-learn==1.9.1 numpy==2.4.6 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import skdim
import sklearn

warnings.simplefilter("ignore")
print("scikit-dimension", skdim.__version__, "scikit-learn", sklearn.__version__, "numpy", np.__version__)
points = np.random.default_rng(0).random((1000, 3))
clean = skdim.id.MLE().fit(points).dimension_
points[1] = points[0]
one = skdim.id.MLE().fit(points).dimension_
mean = skdim.id.MLE().fit(points, comb="mean").dimension_
two = skdim.id.TwoNN().fit(points).dimension_
print(f"MLE of 1000 points of a cube of 3 dimensions: {clean:.3f}; after one point is copied: {one:.3f}")
print(f"the same with comb='mean': {mean:.3f}; TwoNN: {two:.3f}")
assert 2.5 < clean < 3.2 and one == 0.0 and 2.5 < two < 3.5, "the behaviour has changed"

half = np.pad(np.random.default_rng(1).random((500, 5)), ((0, 0), (0, 15)))
frame = np.linalg.qr(np.random.default_rng(2).standard_normal((20, 20)))[0]
copies = np.concatenate([half, half]) @ frame
kept = skdim.id.TwoNN().fit(copies).dimension_
print(f"TwoNN of 500 points of a cube of 5 dimensions in 20, each twice: {kept:.3f}; once: "
      f"{skdim.id.TwoNN().fit(copies[:500]).dimension_:.3f}")
assert kept < 1, "the behaviour has changed"
PYTHON
echo "seen as described"
