"""What certificates cost: processor time of the stem of a ResNet at two sizes, and of whole audits of networks.

Every measurement is a process of its own. Beside it, in turn, the same may run with another copy of the package, and
for audits a process that imports timm, builds the network and runs it once, which no audit can go below.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .processes import HERE, of_package, processor_time

SIDES = (224, 1024)
"""Sides of the images at which the stem is certified …"""

COMPUTED = 224
"""… and the largest at which the smallest singular value is computed too, to judge the bound."""

AUDITS = (
    ("timm:resnet50", False),
    ("timm:convnext_tiny", False),
    ("timm:efficientnet_b0", False),
    ("timm:vit_small_patch16_224", False),
    ("torchvision:alexnet", True),
    ("timm:cspnext_tiny", True),
    ("timm:cpubone_nano", True),
    ("timm:davit_tiny", True),
)
"""Networks that are audited with random weights, and whether their layers are measured too."""

_LAYER = """
import json, sys, time, torch
import blindspace as bs
torch.manual_seed(0)
stem = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False)
torch.nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
layer = bs.from_module(stem, (3, int(sys.argv[1]), int(sys.argv[1])))
"""

_STEM = f"""{_LAYER}
bs.nullspace(stem, (3, 40, 40))
start = time.process_time()
space = bs.nullspace(layer)
print(json.dumps([time.process_time() - start, space.certificate.to_dict()]))
"""

_SMALLEST = f"""{_LAYER}
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
def product(v):
    x = torch.from_numpy(np.ascontiguousarray(v)).reshape(1, *layer.in_shape)
    return layer.adjoint(layer.forward(x)).numpy().ravel()
gram = LinearOperator((layer.in_dim, layer.in_dim), matvec=product, dtype=np.float64)
start = np.random.default_rng(0).standard_normal(layer.in_dim)
found = eigsh(gram, k=1, which="SA", v0=start, ncv=60, tol=1e-4, return_eigenvectors=False)
print(json.dumps(float(found[0]) ** 0.5))
"""

_ONCE = """
import sys, torch
from blindspace.extras import mend_torchvision
mend_torchvision()
import timm
network = timm.create_model(sys.argv[1]).eval()
with torch.inference_mode():
    network(torch.randn(1, *network.pretrained_cfg["input_size"]))
"""


@dataclass(frozen=True)
class StemRow:
    """The certificate of the 7×7 stem of stride 2 from 3 to 64 channels, with random weights.

    Attributes:
        side: Side of the image in pixels.
        kind: Kind of the certificate.
        relation: Whether ``sigma`` is the smallest singular value or a bound on it, "=", "≥" or "≤".
        sigma: That value.
        smallest: The smallest singular value by SciPy's Lanczos method; None above a side of ``COMPUTED``.
        seconds: Processor time of the certificate, after that of a small image in the same process.
        before: The same of the other copy of the package; None without one.
    """

    side: int
    kind: str
    relation: str
    sigma: float
    smallest: float | None
    seconds: float
    before: float | None


@dataclass(frozen=True)
class AuditRow:
    """An audit by the command line, with random weights.

    Attributes:
        network: Name of the network.
        layers: Whether its layers were measured.
        seconds: Processor time of the whole process.
        before: The same of the other copy of the package; None without one.
        once: Processor time of importing timm, building the network and running it once; None for other libraries.
    """

    network: str
    layers: bool
    seconds: float
    before: float | None
    once: float | None


def certificates(
    before: Path | None = None, sides: Sequence[int] = SIDES, audits: Sequence[tuple[str, bool]] = AUDITS
) -> Iterator[StemRow | AuditRow]:
    """Measure certificates and audits, one after the other.

    Args:
        before: Folder that holds another copy of the package, such as the ``src`` of an older commit; None for none.
        sides: Sides of the images at which the stem is certified.
        audits: Networks that are audited, and whether their layers are measured.

    Raises:
        ValueRangeError: The folder holds no copy of the package.
        BlindspaceError: A process failed; the message holds the last line that it wrote.
    """
    if before is not None:
        of_package(before)
    for side in sides:
        task = ["-c", _STEM, str(side)]
        other = None if before is None else json.loads(processor_time(before, task)[1])[0]
        seconds, found = json.loads(processor_time(HERE, task)[1])
        smallest = None if side > COMPUTED else json.loads(processor_time(HERE, ["-c", _SMALLEST, str(side)])[1])
        yield StemRow(side, found["kind"], found["sigma_above_is"], found["sigma_above"], smallest, seconds, other)
    for network, layers in audits:
        flags = ["--random-weights", "--layers" if layers else "--no-layers"]
        task = ["-m", "blindspace", "audit", network, *flags]
        earlier = None if before is None else processor_time(before, task)[0]
        now = processor_time(HERE, task)[0]
        source, _, name = network.partition(":")
        once = processor_time(HERE, ["-c", _ONCE, name])[0] if source == "timm" else None
        yield AuditRow(network, layers, now, earlier, once)
