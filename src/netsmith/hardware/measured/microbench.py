"""Times of single layers as they run inside a network: copies of a layer added to a small model, without a profiler.

A clock around a session of one layer would time the session's overhead, conversions at its borders and cold caches, and
the runtime's profiler slows every operator by microseconds, which is as much as a small layer takes. So the optimised
graph of a fragment is run as it is and with extra copies of the operators that count; a copy costs the difference.
Copies have weights of their own, so these come from where they come from in a network, and the dispatch of an operator
is part of its time. Sources, sinks, and reorders that a network does not have are in both models and cancel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from netsmith.errors import InputError
from netsmith.hardware.measured.fragments import OPSET, Fragments, bare_depthwise
from netsmith.hardware.measured.timing import make_session, quiet
from netsmith.hardware.table.entry import Entry
from netsmith.hardware.table.keys import BARE, BLOCKED, ENTRY, MIXED, Key, describe
from netsmith.network.layers import KIND, KINDS

_CONVS = ("Conv", "FusedConv", "QLinearConv")  # blocked or dense with anything fused, plain with an activation, integer
_BORDERS = ("ReorderInput", "ReorderOutput", "Transpose")
_CHUNK = 48
_SPAN_S = 200e-6  # copies of a layer last about this long together
_LARGE_BYTES, _STREAM_BYTES = 2.5e5, 1.6e7

#: Measured in every chunk: its changes are the machine's, not the layers'.
CONTROL = Key(KIND["conv"], 32, 32, 3, 3, 1, 1, 16, 16, 16, 16, 1, 32, BARE)
#: The same for memory: its weights come from the outer cache, as those of a network do. A neighbour that fills that
#: cache makes such layers slower by half for seconds on end, and :data:`CONTROL` by nothing.
STREAM = Key(KIND["conv"], 512, 512, 1, 1, 1, 1, 2, 2, 2, 2, 1, 32, BARE)
_ATTEMPTS = 3


@dataclass(frozen=True)
class Campaign:
    """Measured layers, over or still going on.

    Attributes:
        entries: the least disturbed time of every key so far.
        control_s: times of the control layers, :data:`CONTROL` and :data:`STREAM`, in each chunk.
        seconds: since it began.
        again: keys of disturbed chunks, which are still to be repeated; none when it is over.
    """

    entries: dict[Key, Entry]
    control_s: tuple[tuple[float, float], ...]
    seconds: float
    again: tuple[Key, ...] = ()

    @property
    def drift(self) -> float:
        """Largest over smallest time of a control layer, minus 1; the larger of the two."""
        return max((max(c) / min(c) - 1 for c in zip(*self.control_s, strict=True)), default=0.0)


def measure(
    keys: Iterable[Key],
    *,
    threads: int = 1,
    seconds_per_key: float = 0.02,
    min_rounds: int = 16,
    max_rounds: int = 200,
    seed: int = 0,
    max_drift: float = 0.3,
    steady: Iterable[tuple[float, float]] = (),
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[Campaign], None] | None = None,
) -> Campaign:
    """Time every distinct key.

    Args:
        keys: what to time.
        threads: intra-operator threads.
        seconds_per_key: aimed time; the number of rounds follows from it, within ``min_rounds`` and ``max_rounds``.
        max_drift: a chunk one of whose control layers is slower than the fastest seen by more than this is repeated
            after the others, twice at most; each layer's least disturbed time counts.
        steady: times of the control layers in earlier campaigns on this machine.
        progress: called with (done, all); a layer that is repeated counts each time.
        keep: called with what is known after every chunk, for what an interruption must not lose.

    Raises:
        InputError: a key cannot be built as an operator.
    """
    start = perf_counter()
    wanted = list(dict.fromkeys(keys))
    entries: dict[Key, Entry] = {}
    controls: list[tuple[float, float]] = []
    # interleaved, so that a chunk mixes large layers and small
    count = -(-len(wanted) // _CHUNK)
    pending = [wanted[i::count] for i in range(count)]
    known, done = list(steady), 0
    for attempt in range(_ATTEMPTS):
        seen_s: list[tuple[float, float]] = []
        again: list[list[Key]] = []
        for number, chunk in enumerate(pending, 1):
            measured = _chunk(chunk, threads, seconds_per_key, (min_rounds, max_rounds), seed)
            seen_s.append((measured[CONTROL].seconds, measured[STREAM].seconds))
            for key in chunk:
                entries[key] = less_disturbed(measured[key], entries.get(key))
            controls.append(seen_s[-1])
            if attempt + 1 < _ATTEMPTS:
                most = np.min([*known, *controls], axis=0) * (1 + max_drift)
                again = [c for c, s in zip(pending, seen_s, strict=False) if (np.array(s) > most).any()]
            done += len(chunk)
            if keep is not None:
                rest = tuple(k for c in again for k in c)
                keep(Campaign(dict(entries), tuple(controls), perf_counter() - start, rest))
            if progress is not None:
                progress(done, done + sum(map(len, pending[number:])) + sum(map(len, again)))
        pending = again
        if not pending:
            break
    return Campaign(entries, tuple(controls), perf_counter() - start)


def less_disturbed(one: Entry, other: Entry | None) -> Entry:
    """The shorter of two measurements of a layer: what disturbs one only ever makes it longer."""
    return one if other is None or one.seconds < other.seconds else other


def build_model(keys: list[Key], seed: int = 0) -> tuple[Any, Fragments]:
    """An ``onnx.ModelProto`` that holds a fragment for each key, and the record of its parts."""
    from onnx import helper

    parts = Fragments(seed)
    for key in keys:
        parts.add(key)
    graph = helper.make_graph(
        parts.nodes, "layers",
        [helper.make_tensor_value_info(n, t, s) for n, (t, s) in parts.inputs.items()],
        [helper.make_tensor_value_info(n, t, [None] * r) for n, t, r in parts.outputs],
        parts.weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), parts


@dataclass
class _Pair:
    """A fragment without and with copies of what counts in it, and the samples of both."""

    sessions: tuple[Any, Any]
    feed: dict[str, Any]
    fetch: list[str]
    copies: int
    nodes: int
    samples: tuple[list[float], list[float]]


def _chunk(
    keys: list[Key], threads: int, seconds_per_key: float, rounds: tuple[int, int], seed: int
) -> dict[Key, Entry]:
    bases = [bare_depthwise(*s) for k in keys for s in _produced(k)]
    every = list(dict.fromkeys([CONTROL, STREAM, *bases, *keys]))
    model, parts = _optimised(every, threads, seed)
    rng = np.random.default_rng(seed)
    pairs = {k: p for i, k in enumerate(every) if (p := _pair(model, parts, i, k, threads, rng)) is not None}
    once = _round(pairs, rng)
    for pair in pairs.values():
        for samples in pair.samples:
            samples.clear()  # the first round warms up
    count = int(np.clip(seconds_per_key * len(every) / max(once, 1e-6), *rounds))
    for _ in range(count):
        _round(pairs, rng)
    found: dict[Key, Entry] = {}
    for key in every:
        if key not in pairs:
            found[key] = Entry(0.0, 0.0, 2 * count, 0)  # the runtime has optimised it away
            continue
        pair = pairs[key]
        without, with_copies = (np.array(samples) for samples in pair.samples)
        seconds = (quiet(with_copies) - quiet(without)) / pair.copies
        low, high = np.percentile((with_copies - np.median(without)) / pair.copies, [25, 75])
        nodes = pair.nodes
        for shape in _produced(key):  # fused into the producers, which count less their own time
            seconds -= found[bare_depthwise(*shape)].seconds
            nodes -= 1
        # differences of noise may fall below nothing; a layer that computes takes time
        least = 1e-8 if key.computes else 0.0
        found[key] = Entry(max(least, seconds), float(high - low), len(without), nodes)
    return found


def _round(pairs: dict[Key, _Pair], rng: np.random.Generator) -> float:
    """Run every model once untimed and twice timed, in random order; returns the seconds that it took."""
    start = perf_counter()
    members = list(pairs.values())
    for i in rng.permutation(len(members)):
        pair = members[i]
        for session, samples in zip(pair.sessions, pair.samples, strict=True):
            session.run(pair.fetch, pair.feed)  # the others have put this one out of the caches
            for _ in range(2):
                begin = perf_counter()
                session.run(pair.fetch, pair.feed)
                samples.append(perf_counter() - begin)
    return perf_counter() - start


def _optimised(keys: list[Key], threads: int, seed: int) -> tuple[Any, Fragments]:
    """The graph that the runtime makes of all fragments, its nodes named, and the record of the parts."""
    import onnx

    model, parts = build_model(keys, seed)
    with tempfile.TemporaryDirectory(prefix="netsmith-") as folder:
        saved = str(Path(folder) / "optimised.onnx")
        try:
            make_session(model.SerializeToString(), threads=threads, save=saved)
        except InputError:
            if len(keys) > 1:
                for key in keys:
                    _optimised([key], threads, seed)
            raise InputError(
                f"{describe(keys[0])} is not a layer that ONNX Runtime runs; check the network's layer table"
            ) from None
        optimised = onnx.load(saved)
    for number, node in enumerate(optimised.graph.node):
        if not node.name.startswith(("src_", "sink_")):
            node.name = f"node{number}"
    return optimised, parts


def _pair(model: Any, parts: Fragments, i: int, key: Key, threads: int, rng: np.random.Generator) -> _Pair | None:
    """The sessions of fragment ``i``; None if no operator of it counts."""
    from onnx import TensorProto

    counted, producers = _count(model.graph, parts, i, key)
    region = {*counted, *producers}
    if not region:
        return None
    copies = int(np.clip(_SPAN_S / _guess(key), 2, 16))
    weight_bytes = key.weights * key.bits // 8
    if weight_bytes >= _LARGE_BYTES:
        # a network with layers like this one streams its weights past the inner caches in every run
        copies = int(np.clip(_STREAM_BYTES / weight_bytes, copies, 16))
    inputs = {n.name for n in model.graph.input}
    feed = {}
    for name, (kind, shape) in parts.inputs.items():
        if name in inputs:
            feed[name] = (
                rng.standard_normal(shape).astype(np.float32)
                if kind == TensorProto.FLOAT
                else rng.integers(0, 256, shape, dtype=np.uint8)
            )
    sessions = []
    needed: set[str] = set()
    for n in (0, copies):
        with_copies, needed = replicate(model, parts.sinks[i], region, n)
        try:
            session = make_session(with_copies, threads=threads, optimise=False)
            session.run([parts.sinks[i]], {k: feed[k] for k in needed})
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"{describe(key)} is not a layer that ONNX Runtime runs: {reason}") from error
        sessions.append(session)
    return _Pair(
        (sessions[0], sessions[1]), {k: feed[k] for k in needed}, [parts.sinks[i]], copies, len(region), ([], [])
    )


def _guess(key: Key) -> float:
    """Rough seconds of a layer, to choose a number of copies."""
    moved = key.c_in * key.h_in * key.w_in + key.c_out * key.h_out * key.w_out
    return 2e-6 + moved * 2e-10 + key.macs / 4e10


def replicate(model: Any, sink: str, region: set[str], copies: int) -> tuple[bytes, set[str]]:
    """Cut one fragment out of an optimised model and add copies of some of its nodes.

    Args:
        model: optimised model with named nodes.
        sink: name of the fragment's output.
        region: names of the nodes to copy; a copy reads what the original reads, and nothing reads a copy.
        copies: how many.

    Returns:
        The serialised model and the names of its inputs.
    """
    from onnx import helper

    graph = model.graph
    made_by = {o: n for n in graph.node for o in n.output}
    last = made_by[sink]  # the sink, or a transposition that the runtime has moved behind it
    nodes = [*_ancestors(last, graph, made_by, sources=True), last]
    constants = {t.name: t for t in graph.initializer}
    weights = {x: constants[x] for n in nodes for x in n.input if x in constants}
    inner = [n for n in nodes if n.name in region]
    made_inside = {o for n in inner for o in n.output}
    for number in range(copies):
        own = {x for n in inner for x in n.input if x in constants and np.prod(constants[x].dims) >= 64}
        rename = {x: f"{x}@{number}" for x in (*made_inside, *own) if x}
        for x in own:
            weights[rename[x]] = type(constants[x])()
            weights[rename[x]].CopyFrom(constants[x])
            weights[rename[x]].name = rename[x]
            _alter(weights[rename[x]], number)
        for node in inner:
            copy = type(node)()
            copy.CopyFrom(node)
            copy.name = f"{node.name}@{number}"
            copy.input[:] = [rename.get(x, x) for x in node.input]
            copy.output[:] = [rename.get(x, x) for x in node.output]
            nodes.insert(len(nodes) - 1, copy)
    read = {x for n in nodes for x in n.input}
    inputs = [n for n in graph.input if n.name in read]
    outputs = [n for n in graph.output if n.name == sink]
    alone = helper.make_graph(nodes, "layer", inputs, outputs, list(weights.values()))
    made = helper.make_model(alone, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return made.SerializeToString(), {n.name for n in inputs}


def _produced(key: Key) -> list[tuple[int, int, int]]:
    """Shapes of the `prod` convolutions whose time is taken off (those of a convolution are not counted at all)."""
    kind = KINDS[key.kind]
    if key.bits == 8 or key.context not in (BLOCKED, MIXED) or kind == "conv":
        return []
    if kind == "concat":
        first = max(1, key.c_in // 2)
        return [(first, key.h_in, key.w_in), (max(1, key.c_in - first), key.h_in, key.w_in)]
    shape = (key.c_in, key.h_in, key.w_in)
    return [shape, shape] if kind == "add" and key.context == BLOCKED else [shape]


def _alter(tensor: Any, number: int) -> None:
    """Make a copy's weights differ in one bit or so: the runtime stores packed weights of equal content once."""
    if tensor.raw_data and len(tensor.dims) > 1:
        tensor.raw_data = bytes([tensor.raw_data[0] ^ (number + 1)]) + tensor.raw_data[1:]


def _count(graph: Any, parts: Fragments, i: int, key: Key) -> tuple[list[str], list[str]]:
    """Names of the nodes that count for fragment ``i``, and of its `prod` convolutions if they are to be taken off."""
    made_by = {o: n for n in graph.node for o in n.output}
    sink = next(n for n in graph.node if n.name == parts.sinks[i])
    ordered = _ancestors(sink, graph, made_by)
    convs = [n for n in ordered if n.op_type in _CONVS]
    first = last = None
    producers: list[Any] = []
    if parts.producers[i]:
        producers = convs[: parts.producers[i]]
        first = producers[0]
    if parts.consumes[i] or KINDS[key.kind] == "conv":
        last = convs[-1]
    count = []
    position = {id(n): k for k, n in enumerate(ordered)}
    for node in ordered:
        if node in producers or (parts.consumes[i] and node is last):
            continue
        if node.op_type in _BORDERS and KINDS[key.kind] != "reshape":
            leading = first is not None and not _has_ancestor(node, producers, made_by)
            trailing = last is not None and position[id(node)] > position[id(last)]
            if leading or trailing or (first is None and key.context != ENTRY):
                continue
        count.append(node.name)
    # a convolution's producer is not part of it; glue may be fused into its producers, so they count, less their own
    # time
    return count, [p.name for p in producers] if _produced(key) else []


def _ancestors(last: Any, graph: Any, made_by: dict[str, Any], sources: bool = False) -> list[Any]:
    """Nodes between the sources (with them, if wanted) and ``last``, in the graph's (topological) order."""
    seen: dict[int, Any] = {}
    stack = [made_by[x] for x in last.input if x in made_by]
    while stack:
        node = stack.pop()
        if id(node) in seen or (node.name.startswith("src_") and not sources):
            continue
        seen[id(node)] = node
        stack += [made_by[x] for x in node.input if x in made_by]
    return [n for n in graph.node if id(n) in seen]


def _has_ancestor(node: Any, wanted: list[Any], made_by: dict[str, Any]) -> bool:
    stack = [node]
    names = {n.name for n in wanted}
    while stack:
        n = stack.pop()
        if n.name in names:
            return True
        stack += [made_by[x] for x in n.input if x in made_by]
    return False
