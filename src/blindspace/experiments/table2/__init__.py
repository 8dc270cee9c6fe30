"""Table 2: how unlike the originals harmless images in the pixel range look, beside Gaussian noise."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Table2, for_preset

EXPERIMENT: Experiment[Table2] = Experiment(
    name="table2",
    title="how unlike the originals the harmless images look",
    source="table 2, section 5.1",
    question=(
        "Do harmless perturbations hide CIFAR-10 test images from people as well as Gaussian noise N(0, 0.1²), without "
        "changing what the network says? Every harmless image here lies in [0, 1] to the last bit. The largest is the "
        "paper's aim, the most unlike a climb in the perceptual distance itself, so that only its SSIM and its "
        "second perceptual distance, by another network, were not aimed at. LPIPS cannot be had without a download: "
        "the distance is shift-tolerant LPIPS, whose figures compare with the noise's here and not with the paper's."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "metrics"),
)
