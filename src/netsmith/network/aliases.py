"""Modules that have several names: the trace calls them by the first, as everything else does."""

from __future__ import annotations

from torch import fx, nn

from netsmith.network.passes import get_parameter, set_parameter


def name_first(module: fx.GraphModule, model: nn.Module) -> None:
    """Let the parameters that a trace reads, and where it says that a node stands, have the first name of each module.

    ``torch.export`` takes the last one where ``self.again = self.block``.

    Args:
        module: the trace, changed in place.
        model: what was traced.
    """
    every = list(model.named_modules(remove_duplicate=False))
    first = {id(m): name for name, m in reversed(every)}
    names = {name: first[id(m)] for name, m in every if first[id(m)] != name}
    if not names:
        return
    for node in module.graph.nodes:
        if node.op == "get_attr":
            path, _, leaf = str(node.target).rpartition(".")
            if path in names:
                value, node.target = get_parameter(module, str(node.target)), f"{names[path]}.{leaf}"
                set_parameter(module, str(node.target), value)
        stack = node.meta.get("nn_module_stack")
        if stack:
            node.meta["nn_module_stack"] = {k: (names.get(str(v[0]), v[0]), *v[1:]) for k, v in stack.items()}
    module.recompile()
