"""NNCF post-training int8 of an ONNX file: ``nncf_ptq.py IN.onnx IMAGES.npy OUT.onnx``. Seconds.

A script of its own, so that NNCF may live in another environment; needs only nncf, onnx and numpy.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx


def main() -> None:
    import nncf

    source, images, out = sys.argv[1:4]
    model = onnx.load(source)
    name = model.graph.input[0].name
    samples = [row[None] for row in np.load(images)]
    dataset = nncf.Dataset(samples, lambda row: {name: row})
    onnx.save(nncf.quantize(model, dataset, subset_size=len(samples), target_device=nncf.TargetDevice.CPU), out)
    print(f"nncf {nncf.__version__}")


if __name__ == "__main__":
    main()
