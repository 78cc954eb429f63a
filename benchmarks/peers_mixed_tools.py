"""Mixed precision by ModelOpt's ``auto_quantize`` and Sony's MCT, on the images of netsmith. Minutes, one thread.

Runs inside the peer's own interpreter, with netsmith's ``src`` on PYTHONPATH: ``peers_mixed_tools.py REQUEST``, where
REQUEST is JSON with ``tool`` (``modelopt`` or ``mct``), ``network`` (``cifar_resnet20``), ``weights``, ``data``,
``bits`` (budget, mean bits of a weight; null: MCT without a budget) and optionally the keys of ``DEFAULTS``. Prints one
line of JSON; whatever the tool prints goes to stderr. Simulated: weights and activations are rounded in float.

Environments (each with a constraints file ``torch==2.13.0``, or pip brings another build of torch)::

    pip install torch nvidia-modelopt requests safetensors pillow pyarrow datasets scikit-learn
    pip install torch model-compression-toolkit safetensors pillow pyarrow datasets scikit-learn
    pip install --no-deps torchvision==0.28.0     # MCT imports it for data generation, which is not used here

What had to be worked around, with nvidia-modelopt 0.47.0 and model-compression-toolkit 2.6.1:
    requests: ModelOpt imports it and does not declare it.
    torchvision: the one of PyPI is built for the CUDA torch; its operators nms and qnms are declared first
        (``tests/torchvision_shim.py``), or ``import model_compression_toolkit`` fails.
    stdout: the solver that MCT calls (CBC, a process of its own) writes to file descriptor 1, so that is moved aside.
    MXFP4 and NVFP4 formats of ModelOpt: need its CUDA extension even to simulate; not used. INT4 blockwise and W4A8
        AWQ do run, but a block of 128 lies along the last axis, which in a 3x3 convolution is 3 weights long: one scale
        for 3 weights, so what the tool counts as 4.7 bits of ResNet-20 is 9.1 with scales of 16 bits. See
        ``bits_with_scales`` of the answer. The default formats are therefore of the kind of its documented int8 one,
        symmetric and per channel with int8 activations, with fewer weight bits.
    a layer that ModelOpt leaves unquantized: counted as 16 bits, as it does itself; its inputs are float.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

DEFAULTS: dict[str, Any] = {
    "formats": [8, 4, 2],  # bits of weights, per channel; for ModelOpt also names of its formats
    "activation_bits": [8],  # one for ModelOpt; several for MCT only together with activation_share
    "activation_share": None,  # MCT: budget of activation memory, as a share of the 8-bit one
    "algorithm": "mse",  # ModelOpt: how scales of weights are set; max is its default and worse below 8 bits
    "float_layers": True,  # ModelOpt: may leave layers unquantized, as it does by default; counted as 16 bits by it
    "check_float": True,  # test the network before as well; must be what netsmith says
    "images": 256,  # first ones of the search split
    "batch_size": 32,
    "threads": 1,
    "seed": 0,
}
_SCALE_BITS, _FLOAT_BITS = 16, 16
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def modelopt(model: nn.Module, batches: Batches, request: dict[str, Any]) -> tuple[nn.Module, Any]:
    """What a user of ModelOpt writes."""
    import modelopt.torch.quantization as mtq
    from torch.nn.functional import cross_entropy

    formats = [
        getattr(mtq, f)
        if isinstance(f, str)
        else {
            "quant_cfg": [
                {"quantizer_name": "*", "enable": False},
                {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": f, "axis": 0}},
                {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": request["activation_bits"][0]}},
            ],
            "algorithm": request["algorithm"],
        }
        for f in request["formats"]
    ]
    every = {"module_name_patterns": "*", "quantization_formats": formats, "allow_no_quant": request["float_layers"]}
    model, state = mtq.auto_quantize(
        model,
        constraints={"effective_bits": request["bits"]},
        quantization_formats=formats,
        module_search_spaces=[every],
        data_loader=batches,
        forward_step=lambda m, batch: m(batch[0]),
        loss_func=lambda logits, batch: cross_entropy(logits, batch[1]),
        num_calib_steps=len(batches),
        num_score_steps=len(batches),
    )
    return model, {"effective_bits": state["best"]["constraints"]["effective_bits"]}


def mct(model: nn.Module, batches: Batches, request: dict[str, Any]) -> tuple[nn.Module, Any]:
    """What a user of MCT writes; the platform is its default one unless other bits are asked for."""
    import model_compression_toolkit as mct

    def images() -> Iterator[list[Any]]:
        for x, _ in batches:
            yield [x.numpy()]

    platform = mct.get_target_platform_capabilities()
    if request["formats"] != [8, 4, 2] or request["activation_bits"] != [8]:
        platform = _platform(request["formats"], request["activation_bits"])
    target = None
    if request["bits"] is not None:
        eight_bits = mct.core.pytorch_resource_utilization_data(model, images, target_platform_capabilities=platform)
        target = mct.core.ResourceUtilization(weights_memory=eight_bits.weights_memory * request["bits"] / 8)
        if request["activation_share"] is not None:
            target.activation_memory = eight_bits.activation_memory * request["activation_share"]
    search = mct.core.MixedPrecisionQuantizationConfig(num_of_images=sum(len(x) for x, _ in batches))
    model, info = mct.ptq.pytorch_post_training_quantization(
        model, images, target, mct.core.CoreConfig(mixed_precision_config=search), platform
    )
    used = info.final_resource_utilization
    return model, used and {"weights_memory": used.weights_memory, "activation_memory": used.activation_memory}


def _platform(weight_bits: list[int], activation_bits: list[int]) -> Any:
    """The default platform (IMX500, 1.0) with other bits, made as the comments of its source say."""
    from model_compression_toolkit.target_platform_capabilities.constants import KERNEL_ATTR, WEIGHTS_N_BITS
    from model_compression_toolkit.target_platform_capabilities.schema.mct_current_schema import (
        OperatorSetNames,
        QuantizationConfigOptions,
    )
    from model_compression_toolkit.target_platform_capabilities.tpc_models.imx500_tpc.v1_0 import tpc

    base, _, default = tpc.get_op_quantization_configs()
    options = [
        base.clone_and_edit(attr_to_edit={KERNEL_ATTR: {WEIGHTS_N_BITS: w}}, activation_n_bits=a)
        for a in activation_bits
        for w in weight_bits
    ]
    platform = tpc.generate_tpc(default, options[0], options, "imx500_other_bits")
    others = tuple(default.clone_and_edit(activation_n_bits=a) for a in activation_bits)
    # a convolution fused with its ReLU has the activation bits of the ReLU, to which generate_tpc gives no choice
    choice = QuantizationConfigOptions(quantization_configurations=others, base_config=others[0])
    sets = tuple(
        s.model_copy(update={"qc_options": choice}) if s.name in (OperatorSetNames.RELU, OperatorSetNames.ADD) else s
        for s in platform.operator_set
    )
    return platform.model_copy(update={"operator_set": sets})


def modelopt_bits(model: nn.Module) -> tuple[dict[str, Any], Counter[Any]]:
    """Layer -> weights, bits and scales, and how many layers take inputs of how many bits, from its quantizers."""
    from modelopt.torch.quantization.nn import QuantModule, SequentialQuantizer

    layers, inputs = {}, Counter[Any]()
    for name, module in model.named_modules():
        if not isinstance(module, QuantModule) or not hasattr(module, "weight_quantizer"):
            continue  # normalisation has an input quantizer only, and it is off
        quantizer = module.weight_quantizer
        if isinstance(quantizer, SequentialQuantizer):
            quantizer = quantizer[0]  # int4 of W4A8; what follows only rounds its values to fp8
        bits = _format_bits(quantizer)
        scales = quantizer.amax.numel() if quantizer.is_enabled and quantizer.amax is not None else 0
        layers[name] = {"weights": module.weight.numel(), "bits": bits or _FLOAT_BITS, "scales": scales}
        inputs[_format_bits(module.input_quantizer) or "float"] += 1
    return layers, inputs


def _format_bits(quantizer: Any) -> int | None:
    if not quantizer.is_enabled:
        return None
    return sum(quantizer.num_bits) + 1 if isinstance(quantizer.num_bits, tuple) else quantizer.num_bits


def mct_bits(model: nn.Module) -> tuple[dict[str, Any], Counter[Any]]:
    """Likewise from the quantizers of the exported module; activations: tensors, not layers."""
    from mct_quantizers import PytorchActivationQuantizationHolder, PytorchQuantizationWrapper

    layers, tensors = {}, Counter[Any]()
    for name, module in model.named_modules():
        if isinstance(module, PytorchQuantizationWrapper):
            quantizer = module.weights_quantizers["weight"]
            scales = quantizer.scales.numel() if quantizer.per_channel else 1
            layers[name] = {"weights": module.weight.numel(), "bits": quantizer.num_bits, "scales": scales}
        elif isinstance(module, PytorchActivationQuantizationHolder):
            tensors[module.activation_holder_quantizer.num_bits] += 1
    return layers, tensors


def lines_of(*functions: Callable[..., Any]) -> int:
    """Source lines with code: no blank lines, comments or docstrings."""
    found = 0
    for function in functions:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        node = tree.body[0]
        assert isinstance(node, ast.FunctionDef)
        node.body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        kept = {i for part in node.body for i in range(part.lineno, (part.end_lineno or part.lineno) + 1)}
        text = inspect.getsource(function).splitlines()
        found += 1 + sum(bool(text[i - 1].strip()) and not text[i - 1].strip().startswith("#") for i in kept)
    return found


def accuracy(model: nn.Module, data: Any) -> float:
    right = 0
    with torch.inference_mode():
        for x, y in data.test.batches(256, normalise=data.normalisation, channels_last=False):
            right += int((model(x).argmax(dim=1) == y).sum())
    return right / len(data.test)


def _cpu_seconds() -> float:
    """Of this process and of those that it started, such as a solver; waiting for a busy core does not count."""
    return sum(os.times()[:4])


def run(request: dict[str, Any]) -> dict[str, Any]:
    from netsmith.data import load_data, normalisation_from_metadata
    from netsmith.network.load import load_model

    torch.manual_seed(request["seed"])
    torch.set_num_threads(request["threads"])
    data = load_data(request["data"], seed=request["seed"])
    loaded = load_model(
        f"zoo:{request['network']}", weights=request["weights"], num_classes=len(data.classes),
        input_shape=data.input_shape,
    )  # fmt: skip
    data = data.with_normalisation(normalisation_from_metadata(loaded.metadata))
    x, y = next(data.search.batches(request["images"], normalise=data.normalisation, channels_last=False))
    size = request["batch_size"]
    batches = [(x[i : i + size].contiguous(), y[i : i + size]) for i in range(0, len(x), size)]
    before = accuracy(loaded.model, data) if request["check_float"] else None
    if request["tool"] == "modelopt":
        make, read, package = modelopt, modelopt_bits, "nvidia-modelopt"
        lines = lines_of(modelopt)
    else:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
        from torchvision_shim import torchvision_works

        torchvision_works()
        make, read, package = mct, mct_bits, "model-compression-toolkit"
        other = request["formats"] != [8, 4, 2] or request["activation_bits"] != [8]
        lines = lines_of(mct, _platform) if other else lines_of(mct)
    start, cpu = time.perf_counter(), _cpu_seconds()
    model, said = make(loaded.model, batches, request)
    seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
    layers, activations = read(model.eval())
    weights = sum(v["weights"] for v in layers.values())
    bits = sum(v["weights"] * v["bits"] for v in layers.values())
    scales = sum(v["scales"] for v in layers.values())
    return {
        "tool": package, "version": version(package), "torch": torch.__version__, "request": request,
        "float_accuracy": before, "accuracy": accuracy(model, data), "images": len(data.test),
        "weights": weights, "weight_bytes": bits / 8, "effective_bits": bits / weights, "scales": scales,
        "bits_with_scales": (bits + scales * _SCALE_BITS) / weights, "layers": layers,
        "activation_bits": {str(k): v for k, v in sorted(activations.items(), key=str)},
        "tool_says": said, "seconds": seconds, "cpu_seconds": cpu, "lines": lines,
    }  # fmt: skip


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    request = DEFAULTS | json.loads(sys.argv[1])
    if unknown := set(request) - set(DEFAULTS) - {"tool", "network", "weights", "data", "bits"}:
        sys.exit(f"{', '.join(sorted(unknown))}: not a key of a request")
    if request["tool"] not in ("modelopt", "mct"):
        sys.exit(f"tool {request['tool']!r} is not known: choose modelopt or mct")
    answer = os.dup(1)
    os.dup2(2, 1)
    line = json.dumps(run(request), default=float)
    with os.fdopen(answer, "w") as out:
        out.write(line + "\n")


if __name__ == "__main__":
    main()
