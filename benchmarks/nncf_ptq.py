"""NNCF post-training int8 of an ONNX file: ``nncf_ptq.py IN.onnx IMAGES.npy OUT.onnx``. Seconds.

A script of its own, so that NNCF may live in another environment; needs only nncf, onnx and numpy.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "images", "out"):
        parser.add_argument(name)
    args = parser.parse_args()
    import nncf

    model = onnx.load(args.source)
    name = model.graph.input[0].name
    samples = [row[None] for row in np.load(args.images)]
    dataset = nncf.Dataset(samples, lambda row: {name: row})
    onnx.save(nncf.quantize(model, dataset, subset_size=len(samples), target_device=nncf.TargetDevice.CPU), args.out)
    print(f"nncf {nncf.__version__}")


if __name__ == "__main__":
    main()
