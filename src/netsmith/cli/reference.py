"""The reference page of all options, ``docs/options.md``: ``python -m netsmith.cli.reference > docs/options.md``.

A test holds the page to what this writes.
"""

from __future__ import annotations

from netsmith.jobs.assembly import Option, options_of
from netsmith.jobs.config import (
    METHODS,
    STRATEGIES,
    CompressConfig,
    Config,
    ExploreConfig,
    MeasureConfig,
    ProfileConfig,
    SpecializeConfig,
    TrainConfig,
    option,
)
from netsmith.schema import in_words

COMMANDS: dict[str, type[Config]] = {
    "compress": CompressConfig, "specialize": SpecializeConfig, "train": TrainConfig, "profile": ProfileConfig,
    "targets measure": MeasureConfig, "explore": ExploreConfig,
}  # fmt: skip

_HEAD = """# Options

Written by `python -m netsmith.cli.reference` from `netsmith/jobs/config/`, where each is written once. On the command
line an option is `--least-bits 4`, in Python it is a keyword argument by the same name, `least_bits=4`; `--out`,
`--resume` and `--json` are those of the commands alone, of which Python has `out` and `resume`.

In Python, methods, a strategy and a group of options may also be given as configurations of their own:

```python
from netsmith import Exact, FineTune, Prune, Quantize

methods = (Prune(widths=16), Quantize(least_bits=4))
strategy, tune = Exact(evaluations=32), FineTune(epochs=3)
netsmith.compress(model, data, latency="0.5x", methods=methods, strategy=strategy, fine_tune=tune)
```
"""


def page() -> str:
    """The whole page in Markdown."""
    parts = [_HEAD]
    for name, config in COMMANDS.items():
        parts.append(f"\n## netsmith {name}\n\n{_sentence(config)}\n\n{_table(list(options_of(config).values()))}\n")
    for title, known in (("Methods", METHODS), ("Strategies", STRATEGIES)):
        rows = [f"| `{name}` | `{config.__name__}` | {_sentence(config)} |" for name, config in known.items()]
        parts.append(
            f"\n## {title}\n\n| name | in Python | what it does |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"
        )
    return "".join(parts)


def _sentence(config: type) -> str:
    return (config.__doc__ or "").strip().partition("\n")[0]


def _table(options: list[Option]) -> str:
    rows = ["| option | type | unit | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for o in options:
        limits = str(o.meaning.limits)
        meaning = o.meaning.doc + (f" ({limits})" if limits else "")
        if o.flag != option(o.name) and o.name != "model":
            meaning += f"; in Python `{o.name}`"
        words = o.meaning.metavar.strip("[]") if o.name == "model" else o.flag
        kind = in_words(o.kind or str, o.meaning.repeats)
        rows.append(f"| `{words}` | {kind} | {o.meaning.unit} | {_default(o)} | {meaning} |")
    return "\n".join(rows)


def _default(o: Option) -> str:
    if o.required:
        return "required"
    if o.default is None or o.default == ():
        return ""
    return f"`{str(o.default).lower() if isinstance(o.default, bool) else o.default}`"


if __name__ == "__main__":
    print(page(), end="")
