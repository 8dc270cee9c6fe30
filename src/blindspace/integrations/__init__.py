"""Blindspace where people already work: foolbox, ART, attributions, ONNX."""
