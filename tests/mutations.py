"""Damaged files: valid ones changed at random, for tests of the doors through which files come in.

Everything follows from a :class:`random.Random`, so that a seed is all that it takes to make a file again, in the suite
and in ``benchmarks/fuzz.py`` alike. :func:`mutate` chooses what suits a file; the functions below it do one thing each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import PurePath
from random import Random
from typing import Any

#: Values in place of one that a file holds; those in ``RAW`` are written as they stand.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.5, -0.0, 1e308, -1e308, 1e-320, 10**9, 10**12, 2**31, 2**63, -(2**63),
    10**19, 10**25, "", " ", "²", "٣", "1", "-1", "nan", "inf", "1e5", "0x10", "true", "null", "x\ny", 'quo"te',
    "it's", "\x00",
    "\x1b[31m", "\u2028", "\ud83d\ude00", "é" * 40, "a" * 5000, "../../etc", "/dev/null", "~nosuchuser/x", [], {}, [[]],
    [0], [None], [-1, 0], [1e308, 1e308], {"": ""}, {"a": None}, ["a", "a"],
)  # fmt: skip
RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 20, "9" * 400, "9" * 5000, "-" + "9" * 5000,
    "1." + "0" * 5000,
    "[" * 50 + "]" * 50, "[" * 900 + "]" * 900, "[" * 5000 + "]" * 5000, '{"a":' * 300 + "1" + "}" * 300, "[" * 200_000,
    '{"a": 1, "a": 2}', "01", "+1", "1_000", "0xff", "0x" + "f" * 5000, "'a'", "undefined", '"\\ud800"',
    '"\\u0000"', "",
)  # fmt: skip
TOKENS = (
    *RAW, "-", "=", ":", ",", ";", "\n", "\r\n", "\t", '"', "'", '"""', "#", "&a", "*a", "<<: *a", "!!int x",
    "!!bool x",
    "!!timestamp x", "!!python/object:os.system", "2024-13-45", "1:99:1", "0b_", ".inf", "~", "|", ">", "%", "{", "}",
    "[",
    "]", "[[", "]]", "²", "nan", "1e400", "true", "\u2028", "\x00", "\x1b[2J", "\ufeff", "x" * 200_000, "a.b.c", "?",
    "- ",
)  # fmt: skip
BYTES = (
    b"", b"\x00", b"\x00" * 8, b"\xff" * 8, b"\xff\xfe", b"\xef\xbb\xbf", b"\x7f" + b"\xff" * 7, b"\x80", b"\xc3\x28",
    b"\r", b"\n", b"\x1a", b"PK\x03\x04", b"PAR1", b"\x80\x04.", b"\xed\xa0\x80",
)  # fmt: skip
_TOKEN = re.compile(r"[\w.+]+|\s+|[^\w\s]")
_TEXTS = {".json", ".toml", ".csv", ".tsv", ".yaml", ".yml", ".txt", ".md", ".jsonl", ".log"}


def mutate(name: str, content: bytes, rng: Random) -> bytes:
    """A file with one to three things wrong with it, by what its name says it is."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _once(name, content, rng)
    return content


def _once(name: str, content: bytes, rng: Random) -> bytes:
    suffix, dice = PurePath(name).suffix.lower(), rng.random()
    if suffix == ".safetensors" and dice < 0.6:
        return mutate_safetensors(content, rng)
    if suffix not in _TEXTS or dice < 0.15:
        return mutate_bytes(content, rng)
    text = content.decode(errors="replace")
    if suffix == ".json" and dice < 0.75:
        return _encoded(mutate_json(text, rng), rng)
    return _encoded(mutate_text(text, rng), rng)


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Flip bits, cut, insert, repeat, blank or overwrite some bytes."""
    n = len(content)
    i, j = sorted((rng.randint(0, n), rng.randint(0, n)))
    near = min(n, i + rng.choice((1, 2, 4, 8, 64)))
    nasty = rng.choice(BYTES)
    kind = rng.randrange(9)
    if kind <= 1 and n:  # more often than the others, for most of them are found at once
        flipped = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            flipped[rng.randrange(n)] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    choices = (
        content[:i], content[:i] + content[near:], content[:i] + nasty + content[i:],
        content[:i] + nasty + content[near:],
        content[:i] + content[i:near] * 2 + content[near:], content[:i] + bytes(near - i) + content[near:],
        content[:i] + rng.randbytes(near - i) + content[near:], content + content[i:j], b"",
    )  # fmt: skip
    return choices[kind if kind < 8 else rng.choice((2, 8))]


def mutate_text(text: str, rng: Random) -> str:
    """Replace, delete, repeat, insert or swap tokens or lines."""
    if rng.random() < 0.25:
        parts = text.splitlines(keepends=True)
    else:
        parts = _TOKEN.findall(text)
        words = [i for i, p in enumerate(parts) if p.strip()]
        if words and rng.random() < 0.5:  # a value, as likely as not
            parts[rng.choice(words)] = rng.choice(TOKENS)
            return "".join(parts)
    if not parts:
        return rng.choice(TOKENS)
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    kind = rng.randrange(5)
    if kind == 0:
        del parts[i]
    elif kind == 1:
        parts.insert(i, parts[j])
    elif kind == 2:
        parts.insert(i, rng.choice(TOKENS))
    elif kind == 3:
        parts[i], parts[j] = parts[j], parts[i]
    else:
        parts[i] = parts[i] * rng.choice((2, 50, 1000)) if len(parts[i]) < 200 else ""
    return "".join(parts)


def mutate_json(text: str, rng: Random) -> str:
    """Change one node of a JSON text; a text that is none is changed as text."""
    try:
        tree = json.loads(text)
        if not isinstance(tree, list | dict):
            return rng.choice(RAW)
        raw: dict[str, str] = {}
        mutate_tree(tree, rng, raw)
        changed = json.dumps(tree)
    except (ValueError, RecursionError):
        return mutate_text(text, rng)
    for mark, written in raw.items():
        changed = changed.replace(f'"{mark}"', written)
    return changed


def mutate_tree(tree: Any, rng: Random, raw: dict[str, str]) -> None:
    """Change one node of lists and mappings in place.

    Args:
        raw: takes marks that stand in the tree for texts which are to be written as they are.
    """
    places = _places(tree)
    if not places:
        return
    parent, key = rng.choice(places)
    value = parent[key]
    kind = rng.randrange(10)
    if kind <= 2:
        parent[key] = rng.choice(VALUES)
    elif kind <= 4:
        parent[key] = mark = f"raw-{rng.getrandbits(64)}"
        raw[mark] = rng.choice(RAW)
    elif kind == 5:
        del parent[key]
    elif kind == 6:
        parent[key] = rng.choice(([value], {"a": value}, [value, value], str(value)))
    elif kind == 7:
        other, place = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[place]))
    elif kind == 8 and isinstance(value, int | float) and not isinstance(value, bool):
        scale = rng.choice((-1, 2, 1000, 10**9, 0.5, 1e300))
        parent[key] = value * scale if abs(value) < 1e15 else -value
    elif isinstance(parent, dict):
        parent[str(rng.choice(("", key + "x", key.upper(), "\n", "__class__", rng.choice(VALUES))))] = parent.pop(key)
    else:
        parent.insert(key, rng.choice((value, *VALUES)))


def mutate_safetensors(content: bytes, rng: Random) -> bytes:
    """Change the header of a safetensors file, or the JSON that a value of its metadata is."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        metadata = header.get("__metadata__") or {}
        if metadata and rng.random() < 0.7:
            key = rng.choice(sorted(metadata))
            metadata[key] = mutate_json(metadata[key], rng)
            text = json.dumps(header)
        else:
            text = mutate_json(json.dumps(header), rng)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return mutate_bytes(content, rng)
    written = text.encode(errors="surrogatepass")
    return len(written).to_bytes(8, "little") + written + content[8 + size :]


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (list or mapping, key) of a tree, without recursion; a long list is known by its first few items."""
    found: list[tuple[Any, Any]] = []
    open_ = [tree]
    while open_:
        node = open_.pop()
        keys = list(node) if isinstance(node, dict) else list(range(min(len(node), 6)))
        found += [(node, key) for key in keys]
        open_ += [node[key] for key in keys if isinstance(node[key], list | dict)]
    return found


_ENCODINGS: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("utf-8-sig", "surrogatepass"),
    lambda text: text.encode("utf-16", "surrogatepass"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: text.replace("\n", "\r").encode(errors="surrogatepass"),
)


def _encoded(text: str, rng: Random) -> bytes:
    return rng.choice(_ENCODINGS)(text) if rng.random() < 0.05 else text.encode(errors="surrogatepass")
