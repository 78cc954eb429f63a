"""The record of a device is stable and tells what differs."""

from __future__ import annotations

import dataclasses
import json

from netsmith.hardware.measured.fingerprint import fingerprint


def test_stable_readable_and_sensitive() -> None:
    one = fingerprint(1)
    assert one == fingerprint(1) and one.hash == fingerprint(1).hash and len(one.hash) == 16
    assert one.hash != fingerprint(2).hash
    assert dataclasses.replace(one, runtime="0.0").hash != one.hash
    assert dataclasses.replace(one, processor="another").hash != one.hash
    record = json.loads(json.dumps(one.to_dict()))
    assert record["threads"] == 1 and record["processor"] and record["runtime"].startswith("onnxruntime ")
