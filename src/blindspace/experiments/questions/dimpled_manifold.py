"""The claims of the dimpled manifold model (Shamir et al. 2021) and of its critics."""

from __future__ import annotations

from .question import BEYOND, CRITICS, MODEL, Question

DIMPLED_MANIFOLD: dict[str, Question] = {
    "compressible": Question(
        "Images lie on a manifold of far fewer dimensions than pixels: an autoencoder compresses them without loss.",
        MODEL,
        "dmm-compress",
    ),
    "clinging": Question(
        "First, and fast, the decision boundary clings to the image manifold.",
        MODEL,
        "dmm-phases",
    ),
    "dimpling": Question(
        "Then, and slowly, it dimples to the correct side of each training image.",
        MODEL,
        "dmm-phases",
    ),
    "perpendicular": Question(
        "Trained networks have large gradients that are roughly perpendicular to the image manifold.",
        MODEL,
        "dmm-onoff",
    ),
    "off-is-cheap": Question(
        "An attack off the manifold needs hardly more than an unconfined one, and one along the manifold many times as "
        "much.",
        MODEL,
        "dmm-onoff",
    ),
    "small-norms": Question(
        "Adversarial examples are near because of the large derivatives off the manifold: without these they are far.",
        MODEL,
        "dmm-init",
    ),
    "content": Question(
        "Perturbations do not resemble the target class because they leave the manifold; those along it do.",
        MODEL,
        "dmm-content",
    ),
    "trade-off": Question(
        "Robustness costs accuracy: a network with limited derivatives is harder to train and less accurate.",
        MODEL,
        "dmm-depth",
    ),
    "deeper-dimples": Question(
        "Adversarial training deepens the dimples: the boundary recedes off the manifold more than along it.",
        MODEL,
        "dmm-depth",
    ),
    "ilyas": Question(
        "A network trained only on adversarial examples with their wrong labels classifies clean images well, because "
        "dimples overshoot: the off-manifold part of the perturbations teaches it.",
        MODEL,
        "dmm-ilyas",
    ),
    "ilyas-better": Question(
        "The network trained on adversarial examples is more accurate and more robust than the first one.",
        MODEL,
        "dmm-ilyas",
    ),
    "redundancy": Question(
        "Redundant dimensions make networks vulnerable: the more pixels for the same manifold, the smaller the norms.",
        MODEL,
        "dmm-redundancy",
    ),
    "compression-defends": Question(
        "Compression onto the manifold before classification makes a network robust.",
        MODEL,
        "dmm-compress",
    ),
    "compression-detects": Question(
        "The distance from the manifold detects outliers and attacks.",
        MODEL,
        "dmm-compress",
    ),
    "any-subspace": Question(
        "Any subspace of equal dimension gives the same picture: nothing of it is due to the manifold (Kilcher).",
        CRITICS,
        "dmm-sweep",
    ),
    "equal-dimension": Question(
        "At equal dimension, attacks along the manifold are cheaper than attacks off it (Xiao et al.).",
        CRITICS,
        "dmm-sweep",
    ),
    "extra-dimension": Question(
        "The picture owes its ease of separation to a dimension that it adds, which images do not have (Kilcher).",
        CRITICS,
        "dmm-redundancy",
    ),
    "initialisation": Question(
        "Dimples are what the initialisation left off the data, which training never changes (Melamed et al.).",
        CRITICS,
        "dmm-init",
    ),
    "reduction": Question(
        "Removing the redundant dimensions does not bring the robustness that the model promises (Haldar et al.).",
        CRITICS,
        "dmm-redundancy",
    ),
    "published-norms": Question(
        "The only published reproduction, 1.5 on against 0.68 off the manifold, is made by its selection of images.",
        CRITICS,
        "dmm-karner",
    ),
    "exact-manifold": Question(
        "The effect comes from a badly learned manifold: with exactly known tangent spaces it is another (Karner).",
        CRITICS,
        "dmm-exact",
    ),
    "aligned": Question(
        "Gradients lie more along the manifold than chance, and adversarial training turns them further onto it (Bordt "
        "et al., Srinivas et al.).",
        CRITICS,
        "dmm-exact",
    ),
    "away-from-images": Question(
        "Adversarial training leads away from realistic images, and so costs generalisation (Kilcher).",
        CRITICS,
        "dmm-depth",
    ),
    "data-or-architecture": Question(
        "Whether gradients prefer the manifold or shun it is set by the data, not by the architecture.",
        BEYOND,
        "dmm-onoff",
    ),
    "one-number": Question(
        "Of standard networks the gradient's share says it all: on/plain = 1/√share and off/plain = 1/√(1 − share).",
        BEYOND,
        "dmm-sweep",
    ),
    "local-manifold": Question(
        "Standard networks do not know the local manifold: the tangent space of another image catches as much of the "
        "gradient.",
        BEYOND,
        "dmm-onoff",
    ),
    "local-after-training": Question(
        "Adversarially trained networks know the local manifold.",
        BEYOND,
        "dmm-depth",
    ),
    "harmless-off": Question(
        "What a network provably cannot notice lies off the manifold.",
        BEYOND,
        "dmm-harmless",
    ),
}
"""The claims by name, in the order of the table."""
