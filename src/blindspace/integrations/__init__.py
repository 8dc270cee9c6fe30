"""Blindspace where people already work: foolbox, ART, attributions, ONNX."""

from ._clean import Clean
from ._confined import confined
from ._export_clean import ExportedClean, export_clean
from .art_parts import clean_preprocessor, confined_classifier
from .attribution import Comparison, VisibleComponent, compare_attributions

__all__ = [
    "Clean",
    "Comparison",
    "ExportedClean",
    "VisibleComponent",
    "clean_preprocessor",
    "compare_attributions",
    "confined",
    "confined_classifier",
    "export_clean",
]
