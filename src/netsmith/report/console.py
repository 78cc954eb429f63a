"""Results as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from netsmith.metrics import metric_of
from netsmith.report.brief import brief
from netsmith.report.certificate import needed
from netsmith.report.facts import plain, spaced
from netsmith.report.figures import before_after, budget_rows, headline, notes, verdict, warnings
from netsmith.report.front_table import front_table
from netsmith.report.memory import fit_lines, peak_sentence
from netsmith.report.networks import network_lines
from netsmith.report.scores import tight
from netsmith.report.wide import Column, print_wide
from netsmith.units import format_bytes, format_count, format_joules, format_seconds

_LONGEST = 200  #: characters of a text in a table
_FILES = {
    "model.onnx": "the network for ONNX Runtime", "model.pt2": "the network for torch.export",
    "model.safetensors": "its weights", "model.nsw": "its weights, packed in their bits",
    "recipe.json": "what was removed, to replay", "network.json": "what was found, as design:FILE a MODEL",
    "summary.json": "these figures", "report.html": "the report, open it in a browser",
}  # fmt: skip

#: columns of a profile, and those that only some targets fill
_PLAIN = {
    "kind": "kind", "in_shape": "in", "out_shape": "out", "macs": "MACs", "params": "params", "latency_s": "latency",
    "share": "share",
}  # fmt: skip
_OPTIONAL = {
    "cycles": "cycles", "energy_j": "energy", "energy_parts": "energy goes to", "intensity": "MACs/byte",
    "bound": "bound by",
}  # fmt: skip


def show_summary(summary: Mapping[str, Any]) -> None:
    """Before and after, or all networks of a front, the budgets, what is certain, and where the files are."""
    console = make_console()
    if summary.get("front"):
        _print_front(console, summary)
    else:
        console.print(_before_after(summary))
    for warning in warnings(summary):
        console.print(f"[bold red]warning[/]: {escape(warning)}")
    for note in notes(summary):
        console.print(f"[dim]{escape(note)}[/]")
    good, sentence = verdict(summary)
    if summary["budgets"]:
        console.print(_budgets(summary))
    console.print(f"[{'green' if good else 'bold red'}]{escape(sentence)}[/]: {escape(headline(summary))}.")
    folder, lies = Path(summary["run"]), summary.get("files") or {}
    for name, what in _FILES.items():
        path = folder / str(lies.get(name, name))
        if path.exists():
            console.print(f"  {escape(str(path))}  [dim]{what}[/]", soft_wrap=True)


def show_profile(result: Mapping[str, Any]) -> None:
    """Every layer, the totals, and what is frozen and why."""
    console = make_console()
    rows, totals = result["layers"], result["totals"]
    optional = [k for k in _OPTIONAL if any(row.get(k) is not None for row in rows)]
    plain = [k for k in _PLAIN if "energy_j" not in optional or k not in ("in_shape", "params")]  # screens are narrow
    columns = plain + optional
    left = ("kind", "in_shape", "out_shape", "bound", "energy_parts")
    head = [Column("layer", left=True), *(Column((_PLAIN | _OPTIONAL)[key], key in left) for key in columns)]
    lines: list[list[str] | None] = []
    frozen = {row["name"]: row["frozen"] for row in rows if row.get("frozen")}
    for row in rows:
        mark = " [yellow]*[/]" if row["name"] in frozen else ""
        lines.append([escape(row["name"]) + mark, *(_cell(row, key) for key in columns)])
    glue = result.get("glue")
    if glue and (glue["latency_s"] or glue["params"]):
        share = glue["latency_s"] / totals["latency_s"] if totals["latency_s"] else 0.0
        between = {"latency_s": glue["latency_s"], "share": share, "params": glue["params"]}
        lines.append([f"[dim]{glue['operators']} operators between[/]", *(_cell(between, key) for key in columns)])
    lines.append(None)
    sums = {k: totals.get(k) for k in ("macs", "params", "latency_s", "energy_j")}
    sums |= {"energy_parts": _summed(rows), "cycles": _sum(rows, "cycles")}
    lines.append(["[bold]all[/]", *(_cell(sums, key) for key in columns)])
    print_wide(console, head, lines, title=f"{escape(result['model'])} on {escape(result['target'])}")
    if totals.get("simulated"):
        console.print(f"[dim]simulated: latencies come from a model of {escape(result['target'])}[/]")
    if result.get("memory"):
        console.print(f"peak memory, one sample: {escape(peak_sentence(result['memory']))}", soft_wrap=True)
    for line in fit_lines(result):
        console.print(escape(line), soft_wrap=True)
    for warning in warnings(result):
        console.print(f"[bold red]warning[/]: {escape(warning)}")
    for name, reason in frozen.items():
        console.print(f"[yellow]*[/] {escape(name)}: {escape(reason)}", soft_wrap=True)


def show_targets(result: Mapping[str, Any]) -> None:
    """The hardware there is."""
    names = ("target", "costs", "bits (weights × activations)", "channels", "peak", "memory", "as given")
    head = [Column(name, name not in ("channels", "peak", "memory")) for name in names]
    lines, needs = list[list[str]](), list[tuple[str, str]]()
    for row in result["targets"]:
        if "needs" in row:
            needs.append((row["name"], row["needs"]))
            continue
        costs = "latency, measured" if row["measured"] else "latency, energy" if row["energy"] else "latency"
        roof = row["roof"]
        peak = ["–", "–"]
        if roof:
            peak = [f"{format_count(roof['macs_per_s'])}MAC/s", f"{format_bytes(roof['bytes_per_s'])}/s"]
        given = "fp32" if row["native"] == [32, 32] else "{}×{} bits".format(*row["native"])
        lines.append([escape(row["name"]), costs, _widths(row["bits"]), f"× {row['channels']}", *peak, given])
    console = make_console()
    print_wide(console, head, lines)
    for name, what in needs:
        console.print(f"{escape(name)}: {escape(what)}")


def _widths(pairs: list[str]) -> str:
    """Pairs of bit-widths in words: a full grid is written as two ranges."""
    both = [tuple(int(n) for n in pair.split("x")) for pair in pairs]
    w, a = ({pair[i] for pair in both} for i in (0, 1))
    if len(both) > 4 and len(both) == len(w) * len(a):
        return f"{_range(w)} × {_range(a)}"
    shown = ", ".join(f"{p}×{q}" for p, q in both[:6])
    return shown if len(both) <= 6 else f"{shown}, … ({len(both)} pairs)"


def _range(values: set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}..{high}" if len(values) == high - low + 1 else ",".join(map(str, sorted(values)))


def show_training(result: Mapping[str, Any]) -> None:
    """The score before and after, and where the weights are."""
    console = make_console()
    metric = metric_of(result)
    before, after = result[metric.key]["before"] or {}, result[metric.key]["after"]
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate((metric.name, "before", "after")):
        table.add_column(name, justify="right" if i else "left")
    for split, value in after.items():
        table.add_row(split, tight(metric, before.get(split), "–"), tight(metric, value))
    console.print(table)
    for warning in warnings(result):
        console.print(f"[bold red]warning[/]: {escape(warning)}")
    console.print(f"{result['epochs']} epochs in {result['seconds']:.0f} s; weights: {escape(str(result['out']))}")


def show_comparison(result: Mapping[str, Any]) -> None:
    """One line a run, as ``netsmith.jobs.compare`` has them in ``result["rows"]``."""
    result = brief(result, _LONGEST)
    rows = [{**row, **_scores(row)} for row in result["rows"]]
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "score_after": (_score_name(rows), str), "score_before": ("was", str),
        "latency_after_s": ("latency", format_seconds), "latency_before_s": ("was", format_seconds),
        "ratio": ("ratio", _ratio), "latency": ("", str),
        "energy_j": ("energy, predicted", format_joules), "energy_ratio": ("ratio", _ratio),
        "macs": ("MACs", format_count), "params": ("parameters", format_count), "size_bytes": ("size", format_bytes),
        "mean_bits": ("mean bits", lambda m: f"w{m['weights']:.3g} a{m['activations']:.3g}"),
    }  # fmt: skip
    seldom = ("latency", "energy_j", "energy_ratio", "mean_bits")  # shown if some run has them
    columns = {k: c for k, c in columns.items() if k not in seldom or any(row.get(k) is not None for row in rows)}
    names = ("run", "target", *(name for name, _ in columns.values()), "budgets")
    head = [Column(name, left=name in ("run", "target", "", "budgets")) for name in names]
    lines = []
    writers = {key: write for key, (_, write) in columns.items()}
    for row in rows:
        cells = [write(row[key]) if row.get(key) is not None else "–" for key, write in writers.items()]
        missed = [b["cost"] for b in row["budgets"] if not b["met"]]
        budgets = f"[red]{', '.join(missed)} not met[/]" if missed else "[green]met[/]" if row["budgets"] else "none"
        name = f"{row['run']} (chosen)" if row.get("chosen") else row["run"]
        lines.append([escape(name), escape(str(row.get("target") or "–")), *cells, budgets])
    console = make_console()
    print_wide(console, head, lines, keys=2)
    for run, warning in ((row["run"], w) for row in rows for w in warnings(row)):
        console.print(f"[bold red]warning[/]: {escape(run)}: {escape(warning)}")
    for row in (row for row in rows if row.get("blocks")):
        console.print(f"\nnetwork of {escape(row['run'])}", soft_wrap=True)
        for line in network_lines(row["blocks"]):
            console.print(f"  {escape(line)}", soft_wrap=True)
    if result.get("costs"):
        _print_costs(console, result["costs"], result.get("simulated", []))


def _scores(row: Mapping[str, Any]) -> dict[str, str | None]:
    """The scores of a compared run as they are shown, by the metric of its own task."""
    metric = metric_of(row)
    return {f"score_{when}": tight(metric, row[f"{metric.key}_{when}"]) or None for when in ("before", "after")}


def _score_name(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a column of scores is called."""
    names = {metric_of(row).name for row in rows}
    return names.pop() if len(names) == 1 else "score"


def _print_costs(console: Console, costs: Mapping[str, Mapping[str, Any]], simulated: list[str]) -> None:
    """What each run's network is predicted to cost on each target, beside the network as given."""
    names = ("run", "target", "latency", "was", "ratio", "energy", "was", "ratio", "")
    lines = []
    for run, by_target in costs.items():
        for target, after in by_target.items():
            cells = []
            for key, write in (("latency_s", format_seconds), ("energy_j", format_joules)):
                now, was = after[key], after["baseline"][key]
                cells += [write(now), write(was), f"{now / was:.2f}×"] if now is not None and was else ["–"] * 3
            lines.append([escape(run), escape(target), *cells, "[dim]modelled[/]" if target in simulated else ""])
    head = [Column(name, left=name in ("run", "target", "")) for name in names]
    print_wide(console, head, lines, title="\npredicted on other hardware", keys=2)


def show_mapping(result: Mapping[str, Any]) -> None:
    """A small result, one line a key."""
    console = make_console()
    for key, value in result.items():
        console.print(f"[dim]{escape(spaced(key))}[/] {escape(plain(value, key.endswith('_s')))}", soft_wrap=True)


def make_console() -> Console:
    """A console as wide as the terminal; a pipe gets room for every column."""
    console = Console(highlight=False)
    if not console.is_terminal:  # it has no width: do not cut columns to 80 characters
        console = Console(highlight=False, width=1000)
    return console


def _before_after(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    for name in ("", "before", "after", "change"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=bool(name), overflow="fold")
    for row in before_after(summary):
        style = "" if row.good is None else "[green]" if row.good else "[yellow]"
        table.add_row(row.name, row.before, row.after, f"{style}{row.change}")
    return table


def _print_front(console: Console, summary: Mapping[str, Any]) -> None:
    """Every network of a front, the chosen one marked, and how it was chosen; notes of cells have their own columns."""
    head, lines = front_table(summary["front"], metric_of(summary))
    noted = [any(line.cells[i].note for line in lines) for i in range(len(head))]
    columns, rows = list[Column](), list[list[str] | None]()
    for name, more in zip(head, noted, strict=True):
        columns += [Column(name, left=not name)] + ([Column("")] if more and name else [])
    for line in lines:
        bold = "[bold]{}[/]" if line.chosen else "{}"
        cells = []
        for i, cell in enumerate(line.cells):
            text = f"{cell.text} {cell.note}".strip() if not i else cell.text
            cells += [bold.format(escape(text)) if text else ""]
            cells += [f"[dim]{escape(cell.note)}[/]"] if noted[i] and i else []
        rows.append(cells)
    print_wide(console, columns, rows)
    console.print(f"[dim]chosen: {escape(summary['front']['rule'])}[/]", soft_wrap=True)
    if tighter := needed(summary):
        console.print(f"[dim]{escape(tighter)}[/]", soft_wrap=True)


def _budgets(summary: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("budget", "limit", "reached", "", ""):
        table.add_column(name, justify="right" if name in ("limit", "reached") else "left")
    for row in budget_rows(summary):
        mark = "[green]met[/]" if row.met else "[bold red]not met[/]"
        table.add_row(row.name, row.limit, row.value, mark, f"[dim]{row.note}[/]")
    return table


def _ratio(value: float) -> str:
    return f"{value:.2f}×"


def _cell(row: Mapping[str, Any], key: str) -> str:
    """One figure of a profiled layer; empty where there is none."""
    value = row.get(key)
    if value is None:
        return ""
    if key == "energy_parts":
        total = sum(value.values()) or 1.0
        return ", ".join(f"{name} {part / total:.0%}" for name, part in value.items() if part >= 0.005 * total)
    writers: dict[str, Callable[[Any], str]] = {
        "in_shape": _shape, "out_shape": _shape, "macs": format_count, "params": format_count,
        "latency_s": format_seconds, "share": "{:.1%}".format, "energy_j": format_joules,
        "cycles": format_count, "intensity": "{:.1f}".format,
    }  # fmt: skip
    return writers[key](value) if key in writers else str(value)


def _sum(rows: list[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) if values else None


def _summed(rows: list[Mapping[str, Any]]) -> dict[str, float] | None:
    total: dict[str, float] = {}
    for row in rows:
        for name, part in (row.get("energy_parts") or {}).items():
            total[name] = total.get(name, 0.0) + part
    return total or None


def _shape(shape: Any) -> str:
    return "×".join(str(n) for n in shape)
