"""Peak memory of 20 networks, as netsmith counts it, against ONNX Runtime's arena and ExecuTorch's memory planner.

For each network, with random weights and a batch of 1:

- *netsmith*: the largest sum of live activations in the order of the exported file, input and output counted; *apart*:
  the same where sums and products of two tensors are not written in the place of one, as ONNX Runtime's kernels do;
- *file*: bytes of ONNX Runtime's arena while it runs the exported file operator by operator (basic optimisations, one
  thread, no memory pattern), after each kernel, as the profile of a run says; weights and workspaces are taken off. The
  input is not in an arena, so what it is compared with is without it. The runtime hands buffers on to later tensors of
  the same shape and holds them meanwhile, so this may be more than what lives;
- *lives*: what really lives in that run: outputs of its operators, in the order in which they ran, each from where it
  is written to where it is read last, element-wise operators of one tensor in place. *file* over *lives* is what the
  runtime holds, *netsmith* over *lives* what is counted otherwise here: an activation that the file has in parts (SiLU
  and hard swish are two operators there), sums in place, and another order;
- *deployed*: the same as *file* with all optimisations, which is another program than the file: additions are executed
  within convolutions, in place (less), and maps are copied into blocked layouts and back (more);
- *workspaces*: the same with what kernels ask for themselves while they run (to unfold a convolution, say);
- *planner*: what ExecuTorch's greedy planner lays out for the same network (``non_const_buffer_sizes``), rectifiers
  behind convolutions left out, which it has as operators, and max pools as average pools, as the indices that it keeps
  of them, 8 bytes each, are nobody's here. It writes nothing in place, so it is compared with *apart*; what it lays out
  has gaps: *its lives* is the most that its own lifetimes let live at one time.

    python benchmarks/memory.py --json memory.json --out memory.md [--packages FOLDER]

``--packages`` is a folder with ExecuTorch (``pip install --no-deps --target FOLDER executorch ruamel.yaml``), which is
no dependency of netsmith; without it that column stays empty. The JSON file is written after each network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

#: spec -> side of the square input
NETWORKS = {
    "zoo:cifar_resnet20": 32, "zoo:cifar_resnet56": 32, "zoo:mobilenet_v1": 128, "zoo:mobilenet_v2": 128,
    "zoo:squeezenet1_1": 128, "timm:resnet18": 128, "timm:resnet50": 128, "timm:vgg11_bn": 128,
    "timm:densenet121": 128, "timm:mobilenetv3_small_100": 128, "timm:efficientnet_b0": 128, "timm:mnasnet_100": 128,
    "timm:ghostnet_100": 128, "torchvision:shufflenet_v2_x1_0": 128, "torchvision:googlenet": 128,
    "timm:regnety_002": 128, "timm:repvgg_a0": 128, "timm:convnext_atto": 128, "timm:hrnet_w18_small": 128, "unet": 64,
}  # fmt: skip


def build(spec: str, side: int) -> tuple[Any, tuple[int, ...]]:
    """A network with random weights, and the shape of one sample."""
    import torch

    torch.manual_seed(0)
    if spec == "unet":
        return unet().eval(), (3, side, side)
    if not spec.startswith("zoo:"):
        import torchvision_shim

        torchvision_shim.torchvision_works()
    from netsmith.network.load import load_model

    return load_model(spec, input_shape=(3, side, side)).model.eval(), (3, side, side)


def unet() -> Any:
    """A small U-Net: skips that live while everything below runs."""
    import torch
    from torch import nn

    def block(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(), nn.Conv2d(c_out, c_out, 3, padding=1), nn.ReLU()
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (16, 32, 64, 128)
            self.down = nn.ModuleList(block(a, b) for a, b in zip((3, *widths), widths, strict=False))
            self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(widths))
            self.out = nn.ModuleList(block(2 * a, a) for a in widths[:-1])
            self.head = nn.Conv2d(widths[0], 2, 1)
            self.pool = nn.MaxPool2d(2)

        def forward(self, x: Any) -> Any:
            skips = []
            for i, down in enumerate(self.down):
                x = down(x if i == 0 else self.pool(x))
                skips.append(x)
            for up, out, skip in zip(list(self.up)[::-1], list(self.out)[::-1], skips[-2::-1], strict=True):
                x = out(torch.cat([up(x), skip], dim=1))
            return self.head(x).flatten(1)

    return UNet()


def ours(graph: Any) -> dict[str, float]:
    """Peak, and the same without the input, which an arena does not hold, with sums in place and not."""
    from netsmith.compression.activations import Activations
    from netsmith.compression.timeline import peak_steps

    table = graph.layers.replace(calls=graph.layers.calls[None])
    given = next(n.name for n in graph.module.graph.nodes if n.op == "placeholder")
    found = dict[str, float]()
    for name, in_place in (("", True), ("_apart", False)):
        timeline = Activations(graph, sums_in_place=in_place).timeline()
        sizes = timeline.bytes(table)
        found[f"peak{name}"] = float(peak_steps(timeline, sizes).max())
        sizes[:, [b for b, tensors in enumerate(timeline.buffers) if tensors[0][0].name == given]] = 0.0
        found[f"without_input{name}"] = float(peak_steps(timeline, sizes).max())
    return found


def arena(path: Path, level: str) -> dict[str, float]:
    """Bytes of ONNX Runtime's arena while a file runs: of tensors after each kernel, and with workspaces at most."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads, options.enable_mem_pattern = True, 1, False
    options.profile_file_prefix = str(path.parent / "profile")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path.parent / "optimised.onnx")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = np.zeros([1, *given.shape[1:]], dtype=np.float32)
    session.run(None, {given.name: x})
    profile = Path(session.end_profiling())
    kernels = [e for e in json.loads(profile.read_text()) if e["name"].endswith("kernel_time")]
    events = [e["args"] for e in kernels]
    in_use = np.array([int(e["mem_bytes_requested_in_use"]) for e in events])
    base = in_use[0] - int(events[0]["mem_requested_in_use_delta"])
    most = int(events[-1]["mem_in_use_peak"])
    found = {"tensors": float(in_use.max() - base), "with_workspaces": float(most - base)}
    if level == "ORT_ENABLE_BASIC":
        ran = [(e["name"].removesuffix("_kernel_time"), e["args"]) for e in kernels]
        found["lives"] = lives(path.parent / "optimised.onnx", [(name, int(a["output_size"])) for name, a in ran])
    return found


_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
_IN_PLACE = ("Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "Gelu", "Erf", "Sqrt")


def lives(path: Path, ran: list[tuple[str, int]]) -> float:
    """The most bytes that outputs of operators take between where they are written and where they are read last.

    Args:
        path: of the file as it was run.
        ran: names of its nodes in the order in which they ran, with the bytes that they wrote.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    nodes, outputs = {n.name: n for n in graph.node}, {o.name for o in graph.output}
    order = [(nodes[name], size) for name, size in ran if name in nodes]
    last = {name: t for t, (node, _) in enumerate(order) for name in node.input}
    end: dict[str, int] = {}  # buffer -> its last step
    buffer: dict[str, str] = {}  # value -> the buffer that it lies in
    sizes: dict[str, int] = {}
    most = 0
    for t, (node, size) in enumerate(order):
        own, source = node.output[0], buffer.get(node.input[0], "") if node.input else ""
        dies = max((last.get(o, len(order) if o in outputs else t) for o in node.output if o), default=t)
        into = own
        if source and node.op_type in _VIEWS:
            into, dies = source, max(dies, end[source])
        elif source and node.op_type in _IN_PLACE and end[source] == t and sizes[source] == size:
            into = source
        buffer |= dict.fromkeys((o for o in node.output if o), into)
        sizes.setdefault(into, size)
        end[into] = dies
        most = max(most, sum(sizes[b] for b, until in end.items() if until >= t))
    return float(most)


def planned(model: Any, shape: tuple[int, ...]) -> dict[str, float]:
    """Bytes that ExecuTorch's planner lays out, and the most that its own lifetimes let live at one time."""
    import torch
    from executorch.exir import EdgeCompileConfig, to_edge

    from netsmith.network.graph import trace
    from netsmith.network.rows import fused_activation

    graph = trace(model, shape)
    aten = torch.ops.aten
    for node in list(graph.module.graph.nodes):
        if node.target is aten.max_pool2d.default:
            node.target, node.args = aten.avg_pool2d.default, (*node.args[:4], *node.args[5:6])
        if node.op == "call_function" and "conv" in str(node.target) and (after := fused_activation(node)) is not None:
            after.replace_all_uses_with(node)
            graph.module.graph.erase_node(after)
    graph.module.recompile()
    program = torch.export.export(graph.module, (torch.zeros(1, *shape),))
    edge = to_edge(
        program,
        compile_config=EdgeCompileConfig(_check_ir_validity=False, preserve_ops=[torch.ops.aten.linear.default]),
    )
    made = edge.to_executorch()
    specs: dict[int, Any] = {}
    for node in made.exported_program().graph.nodes:
        spec = node.meta.get("spec")
        for one in spec if isinstance(spec, list | tuple) else (spec,):
            if one is not None and not one.const and None not in (one.lifetime or [None]):
                specs[id(one)] = one
    ends = sorted({t for one in specs.values() for t in one.lifetime})
    live = (sum(o.allocated_memory for o in specs.values() if o.lifetime[0] <= t <= o.lifetime[1]) for t in ends)
    laid_out = sum(made.executorch_program.execution_plan[0].non_const_buffer_sizes)
    return {"planner": float(laid_out), "planner_lives": float(max(live))}


def measure(spec: str, side: int, foreign: bool) -> dict[str, Any]:
    from netsmith.export.onnx import to_onnx
    from netsmith.network.graph import trace

    model, shape = build(spec, side)
    graph = trace(model, shape)
    found: dict[str, Any] = ours(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(to_onnx(graph).SerializeToString())
        found["file"], found["deployed"] = (arena(path, f"ORT_ENABLE_{level}") for level in ("BASIC", "ALL"))
    if foreign:
        try:
            found |= planned(model, shape)
        except Exception as error:
            found["planner_error"] = str(error)[:200]
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: KB, and netsmith's count over each of the others."""
    head = (
        "network", "netsmith", "file", "ratio", "apart", "ratio", "lives", "ratio", "deployed", "ratio", "workspaces",
        "planner", "its lives", "ratio",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for spec, row in found.items():
        mine, plan = row["without_input"], row.get("planner")
        file, deployed = row["file"]["tensors"], row["deployed"]["tensors"]
        cells = [
            f"{row['peak'] / 1e3:.1f}", f"{file / 1e3:.1f}", f"{mine / file:.3f}", f"{row['peak_apart'] / 1e3:.1f}",
            f"{row['without_input_apart'] / file:.3f}", f"{row['file']['lives'] / 1e3:.1f}",
            f"{row['without_input_apart'] / row['file']['lives']:.3f}", f"{deployed / 1e3:.1f}",
            f"{mine / deployed:.3f}", f"{row['deployed']['with_workspaces'] / 1e3:.1f}",
            *((f"{plan / 1e3:.1f}", f"{row['planner_lives'] / 1e3:.1f}",
               f"{row['peak_apart'] / row['planner_lives']:.3f}") if plan else ("–",) * 3),
        ]  # fmt: skip
        lines.append(f"| {spec} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("memory.json"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    options = parser.parse_args()
    if options.packages:
        sys.path.append(str(options.packages))
    found = json.loads(options.json.read_text()) if options.json.exists() else {}
    for spec in options.only:
        if spec not in found:
            found[spec] = measure(spec, NETWORKS[spec], bool(options.packages))
            options.json.write_text(json.dumps(found, indent=1))
            print(spec, found[spec], flush=True)
    text = table(found)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
