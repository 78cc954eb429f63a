"""This machine: layers and whole networks timed in ONNX Runtime, and the target ``cpu`` that is made of them."""
