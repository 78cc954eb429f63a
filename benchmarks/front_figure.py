"""The picture of a front as an SVG file for the README, from the folder of a run that found one. A second."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("run", type=Path, help="run folder of netsmith compress --front, or of specialize")
    options.add_argument("--out", type=Path, required=True, help="SVG file to write, such as docs/figures/front.svg")
    options.add_argument("--title", default="", help="by default the network and the target")
    args = options.parse_args()
    from netsmith.errors import InputError
    from netsmith.report.front_svg import front_svg
    from netsmith.runs.folder import Run

    try:
        summary = Run.open(args.run).summary()
    except InputError as error:
        options.error(str(error))
    if not summary.get("front"):
        options.error(
            f"{args.run} is a run of one network; give one that was made with --front, --max-drop or --min-score"
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(front_svg(summary, args.title), encoding="utf-8")


if __name__ == "__main__":
    main()
