"""ONNX networks: read, followed and run."""
