"""ONNX and ``.pt2`` files, and the checks that they compute and fuse as they should."""
