"""YAML of strangers: no entry twice, and no few lines that stand for a billion values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netsmith.errors import InputError, shown
from netsmith.files import check_values, read_text
from netsmith.optional import require

_MOST_BYTES = 4_000_000  #: half a minute; the faster reader, in C, crashes on deeply nested files
_MOST_VALUES = 5_000_000  #: with everything that is referred to counted wherever it is


def read_yaml(path: Path, what: str, remedy: str) -> Any:
    """Read a YAML file.

    Args:
        what: the file is, in words, for messages.
        remedy: what the user should do if it cannot be read, the end of the sentence.

    Raises:
        InputError: unreadable, no YAML, nested too deeply, an entry twice, or references that multiply.
    """
    yaml = require("yaml", "yaml")
    text = read_text(path, what, remedy, _MOST_BYTES)
    try:
        found = yaml.load(text, _loader(path))
    except InputError:
        raise
    except (RecursionError, TypeError) as error:
        raise InputError(f"{path} is nested too deeply, or has keys that are no texts or numbers") from error
    except Exception as error:  # also what dates, numbers and tags that are none raise, a dozen kinds
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split()) or type(error).__name__}") from error
    check_values(found, str(path), remedy)
    return found


def _loader(path: Path) -> Any:
    """A safe loader that refuses entries which are there twice, and references that multiply."""
    yaml = require("yaml", "yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.sizes: dict[int, int] = {}  # node -> values that it stands for

        def compose_node(self, parent: Any, index: Any) -> Any:
            referred = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            if referred and id(node) not in self.sizes:
                raise InputError(f"{path} has a value that refers to itself; write it out")
            if not referred:
                parts = [] if isinstance(node, yaml.ScalarNode) else node.value
                within = [n for part in parts for n in (part if isinstance(part, tuple) else (part,))]
                self.sizes[id(node)] = 1 + sum(self.sizes[id(n)] for n in within)
                if self.sizes[id(node)] > _MOST_VALUES:
                    raise InputError(f"{path} stands for more than {_MOST_VALUES} values, by references; write it out")
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            self.flatten_mapping(node)
            found: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, True)
                if key in found:
                    raise InputError(f"{path} has two entries {shown(key)}; keep the one that is meant")
                found[key] = self.construct_object(value_node, True)
            return found

    return Loader
