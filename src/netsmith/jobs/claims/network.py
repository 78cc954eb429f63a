"""Claims about the network: its files compute the same and hold the same weights, and its counts are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netsmith.errors import InputError
from netsmith.export.packed import table_bytes
from netsmith.jobs.claims.claim import Claim, compared, unchecked
from netsmith.jobs.claims.evidence import Evidence
from netsmith.network.layers import FLOAT

_COMPARED = 64  #: inputs


def parity(seen: Evidence) -> Iterator[Claim]:
    """``model.onnx`` computes what ``model.pt2`` computes, and so does the recipe replayed where nothing rounds."""
    from netsmith.export.parity import EXACT, ROUNDED, check_parity
    from netsmith.network.graph import random_input

    model, tolerance = seen.file("model.onnx"), ROUNDED if seen.rounds else EXACT
    onnx, batch = seen.program, None if seen.graph.dynamic_batch else seen.graph.example_batch
    given = seen.examples
    examples = random_input(_COMPARED, *seen.input_shape) if given is None else given
    said = "the same within rounding" if seen.rounds else "the same"

    def judged(what: str, reference: Any) -> Claim:
        found = check_parity(
            reference,
            model,
            examples,
            tolerance=tolerance,
            batch=batch,
            graph=None if given is None else seen.graph.module,
        )
        off = f"relative error {found.relative_error:.2g}"
        why = (
            ""
            if found.ok
            else f"on {len(examples)} {'seeded inputs' if given is None else 'examples'} the outputs differ"
        )
        return Claim(what, said, off, "holds" if found.ok else "fails", why)

    yield judged("outputs of model.onnx and model.pt2", onnx)
    what = "outputs of model.onnx and model.safetensors"
    try:
        plain = seen.plain
    except InputError as error:
        yield unchecked(what, said, str(error))
        return
    if seen.rounds:
        yield unchecked(what, said, "the network rounds, its weights in floats do not; they fit the recipe replayed")
    else:
        yield judged(what, plain)


def packed(seen: Evidence) -> Iterator[Claim]:
    """``model.nsw`` is as large as is said, and decodes to the weights of the network."""
    from netsmith.export.packed.model import packed_fault

    said = seen.summary["result"]["size_bytes"]
    yield compared("size of model.nsw", said, (seen.folder / "model.nsw").stat().st_size, "B", tolerance=0.0)
    other = packed_fault(seen.program.program, seen.file("model.nsw"))
    yield compared("weights in model.nsw", "those of model.pt2", f"another {other}" if other else "those of model.pt2")


def counts(seen: Evidence) -> Iterator[Claim]:
    """Multiply-accumulates and parameters, counted again on the traced network, before and after."""
    from netsmith.export.packed.model import stored_tensors
    from netsmith.network.graph import count_parameters, trace

    before, after = seen.summary["baseline"], seen.summary["result"]
    yield compared("MACs", after["macs"], int(seen.graph.layers.macs.sum()), "count", tolerance=0.0)
    try:
        yield compared("parameters", after["params"], count_parameters(seen.plain), "count", tolerance=0.0)
    except InputError as error:
        yield unchecked("parameters", after["params"], str(error), "count")
    if not seen.has("recipe.json"):  # of a design space: the network as given is its reference, which has no file
        return
    try:
        graph = trace(seen.given, seen.example, fold=seen.folded)
    except InputError as error:
        for name, key in (("MACs", "macs"), ("parameters", "params")):
            yield unchecked(f"{name} as given", before[key], str(error), "count")
        return
    yield compared("MACs as given", before["macs"], int(graph.layers.macs.sum()), "count", tolerance=0.0)
    places, others = stored_tensors(graph)
    fixed, rows = table_bytes(graph.layers, [FLOAT], others=others, stored=places)
    yield compared("size as given", before["size_bytes"], int(fixed + rows.sum()), "B", tolerance=0.0)
    yield compared("parameters as given", before["params"], count_parameters(seen.given), "count", tolerance=0.0)


def memory(seen: Evidence) -> Iterator[Claim]:
    """Peak memory, counted again on both networks by the widths of the recipe."""
    from netsmith.compression.recipe import Recipe
    from netsmith.compression.reorder import reordered
    from netsmith.hardware.target import get_target
    from netsmith.jobs.memory import built_memory
    from netsmith.network.graph import trace

    sides = {"peak memory": "result", "peak memory as given": "baseline"}
    if all(seen.summary[side].get("memory_bytes") is None for side in sides.values()):
        return
    target, kept = get_target(str(seen.summary["target"])), Recipe.read(seen.file("recipe.json")).quantize
    widths = dict.fromkeys(kept.get("int8") or (), (8, 8)) | {n: tuple(b) for n, b in (kept.get("bits") or {}).items()}
    for what, side in sides.items():
        model, bits = (seen.plain, widths) if side == "result" else (seen.given, {})
        graph = trace(model, seen.example, fold=seen.folded)
        if side == "result" and (seen.summary.get("exported_with") or {}).get("reorder"):
            graph = reordered(graph)
        held = built_memory(graph, target, bits, "bits" in kept)
        yield compared(what, seen.summary[side].get("memory_bytes"), held and held["peak_bytes"], "B")
