"""Networks of searched blocks: a colour for every choice, a line of text a stage, and a drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup, escape

SKIP = "skip"
_W, _SLOT, _SPACE = 1040.0, 44.0, 10.0  #: of the drawing, of a block, between stages
_HEAD, _NAME, _BODY, _FOOT = 46.0, 22.0, 58.0, 16.0  #: heights: of stages' names, of a network's name, of boxes
_HUES = (0, 1, 2, 3, 5)  #: of the page's palette; its grey is what a skipped block has
_GREY = 4
_BLOCK = re.compile(r"k(\d+)e(\d+)")


@dataclass(frozen=True)
class Paint:
    """The colour of a choice: a number of the page's palette and how much of it is not card, in percent."""

    hue: int
    share: int

    @property
    def attributes(self) -> Markup:
        """Class and style of an element of this colour."""
        return Markup(f'class="paint c{self.hue}" style="--share:{self.share}%"')


def paints(choices: Iterable[str]) -> dict[str, Paint]:
    """A colour for every choice: a hue for each kernel, deeper for a wider expansion; grey for no block.

    Choices that are not named by kernel and expansion have a hue each.
    """
    names = list(dict.fromkeys(choices))
    shapes = {name: shape_of(name) for name in names}
    kernels = sorted({kernel for kernel, _ in filter(None, shapes.values())})
    expansions = sorted({expansion for _, expansion in filter(None, shapes.values())})
    others = [name for name in names if shapes[name] is None and name != SKIP]
    found = {}
    for name in names:
        shape = shapes[name]
        if name == SKIP:
            found[name] = Paint(_GREY, 55)
        elif shape:
            depth = (expansions.index(shape[1]) + 1) / len(expansions)
            found[name] = Paint(_HUES[kernels.index(shape[0]) % len(_HUES)], round(18 + 82 * depth**2))
        else:
            place = len(kernels) + others.index(name)
            found[name] = Paint(_HUES[place % len(_HUES)], max(30, 100 - 35 * (place // len(_HUES))))
    return found


def shape_of(choice: str) -> tuple[int, int] | None:
    """Kernel and expansion of ``k5e6``; None for other names."""
    match = _BLOCK.fullmatch(choice)
    return (int(match[1]), int(match[2])) if match else None


def network_lines(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a stage: ``stage 2: 24 channels, 16x16: k5e6 k3e3 skip``."""
    return [
        f"stage {stage[0]['stage']}: {stage[-1]['channels']} channels, {stage[-1]['side']}x{stage[-1]['side']}: "
        + " ".join(b["chosen"] for b in stage)
        for stage in _stages(blocks)
    ]


def networks_plot(networks: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    """Networks below each other in one scale, a box a block from left to right.

    Boxes are as high as a block expands and as wide as its kernel is large; a skipped block is the line that runs
    through all of them. Stages wrap where a line is full.

    Args:
        networks: names and blocks; a block has ``stage``, ``channels``, ``side``, ``chosen``, perhaps ``name`` and its
            ``choices``, one of which only says that it was fixed.

    Returns:
        SVG text without colours of its own: they are those of the page's style sheet.
    """
    every = [block["chosen"] for _, blocks in networks for block in blocks]
    colours = paints(
        sorted({c for _, blocks in networks for b in blocks for c in (*b.get("choices", ()), b["chosen"])})
    )
    shapes = [shape for shape in map(shape_of, every) if shape]
    most = max((k for k, _ in shapes), default=1), max((e for _, e in shapes), default=1)
    out, y, above = list[str](), 0.0, None
    for label, blocks in networks:
        lines = _wrapped(_stages(blocks))
        frame = [[(s[-1]["stage"], s[-1]["channels"], s[-1]["side"], len(s)) for s in line] for line in lines]
        out.append(f'<text class="network" x="0" y="{y + 14:.0f}">{escape(label)}</text>')
        y += _NAME
        for line in lines:
            head = frame != above or len(lines) > 1  # stages that are those of the network above need no names again
            out += _line(line, y, head, colours, most)
            y += (_HEAD if head else 0.0) + _BODY + _FOOT
        above = frame
    text = "".join(out)
    return Markup(
        f'<svg viewBox="0 0 {_W:.0f} {max(y, 1):.0f}" style="min-width:{_W * 0.8:.0f}px" role="img" '
        f'aria-label="Blocks of the networks" class="plot networks">{text}</svg>'
    )  # every text in it went through escape()


def _stages(blocks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    return [list(group) for _, group in groupby(blocks, key=lambda b: b["stage"])]


def _wrapped(stages: Iterable[list[Mapping[str, Any]]]) -> list[list[list[Mapping[str, Any]]]]:
    """Lines of whole stages, or of parts of a stage that is longer than a line."""
    fit = int(_W // _SLOT)
    pieces = [stage[i : i + fit] for stage in stages for i in range(0, len(stage), fit)]
    lines, left = list[list[list[Mapping[str, Any]]]](), 0.0
    for piece in pieces:
        wide = len(piece) * _SLOT
        if not lines or left < wide:
            lines.append([])
            left = _W
        lines[-1].append(piece)
        left -= wide + _SPACE
    return lines


def _line(
    stages: Iterable[list[Mapping[str, Any]]], y: float, head: bool, colours: Mapping[str, Paint], most: tuple[int, int]
) -> list[str]:
    out, x, top = list[str](), 0.0, y + (_HEAD if head else 0.0)
    for stage in stages:
        last, wide = stage[-1], len(stage) * _SLOT
        if head:
            words = [f"stage {last['stage']}", f"{last['channels']} ch", f"{last['side']}×{last['side']}"]
            if len(stage) > 2:
                words = [words[0], f"{words[1]}, {words[2]}"]
            out += [
                f'<text class="{"size" if i else "name"}" x="{x + 2:.1f}" y="{y + 11 + 14 * i:.0f}">{escape(word)}'
                "</text>"
                for i, word in enumerate(words)
            ]
        out.append(
            f'<rect class="stage" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{_BODY + 8:.1f}" rx="5"/>'
        )
        middle = top + _BODY / 2 + 4
        out.append(f'<line class="through" x1="{x:.1f}" x2="{x + wide:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
        for i, block in enumerate(stage):
            out += _box(block, x + (i + 0.5) * _SLOT, middle, colours[block["chosen"]], most)
        x += wide + _SPACE
    return out


def _box(block: Mapping[str, Any], x: float, y: float, paint: Paint, most: tuple[int, int]) -> list[str]:
    choice = block["chosen"]
    said = f"{block.get('name', 'block')}: {choice}, {block['channels']} channels, {block['side']}×{block['side']}"
    fixed = len(block.get("choices", ())) == 1
    title = f"<title>{escape(said)}{', no choice' if fixed else ''}</title>"
    if choice == SKIP:
        return [
            f'<g class="skipped">{title}<rect x="{x - _SLOT / 2:.1f}" y="{y - 12:.1f}" width="{_SLOT}" height="24"/>'
            f'<text x="{x:.1f}" y="{y - 5:.1f}" text-anchor="middle">skip</text></g>'
        ]
    kernel, expansion = shape_of(choice) or most
    wide, high = 27 + 14 * kernel / most[0], 16 + (_BODY - 16) * expansion / most[1]
    return [
        f'<g class="block{" fixed" if fixed else ""}">{title}<rect {paint.attributes} x="{x - wide / 2:.1f}" '
        f'y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="3"/>'
        f'<text class="{"on-deep" if paint.share > 75 else "on-pale"}" x="{x:.1f}" y="{y + 4:.1f}" '
        f'text-anchor="middle">{escape(choice if len(choice) < 7 else choice[:5] + "…")}</text></g>'
    ]
