"""Reference networks, written here, with the usual names of layers so that published weights load."""

from __future__ import annotations

from netsmith.network.zoo.registry import ZOO, ZooEntry, build, zoo_entry, zoo_names

__all__ = ["ZOO", "ZooEntry", "build", "zoo_entry", "zoo_names"]
