"""ONNX Runtime sessions, execution providers and this machine's CPU, wheels and display."""
