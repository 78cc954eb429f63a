"""Claims about latency: measured again here, where they were measured on such a device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netsmith.hardware.measured.fingerprint import fingerprint
from netsmith.jobs import timing
from netsmith.jobs.claims.claim import Claim, compared
from netsmith.jobs.claims.evidence import Evidence

#: by which a ratio of two interleaved networks, and the latency of one, may be off when measured again: machines that
#: others use as well, or that are clocked otherwise, shift a latency by much more than the ratio of two
OF_RATIO, OF_SECONDS = 0.05, 0.25
_DEVICE = ("processor", "flags", "cores", "threads", "os", "runtime")


def latency(seen: Evidence, threads: int | None, baseline: Path | None = None) -> Iterator[Claim]:
    """Measured latencies: that they follow from what was timed, and whether they hold on this machine.

    Args:
        threads: of the measurement; None: as many as the run had.
        baseline: file of the network as given, where the run folder is a point of a front and has none.
    """
    before, after, said = (seen.summary[key] for key in ("baseline", "result", "timing"))
    if after.get("latency_measured_s") is None or not said:
        return
    unit = before["latency_measured_s"]
    yield compared(
        "latency is the timed ratio of that as given", after["latency_measured_s"], said["ratio"] * unit, "s"
    )  # fmt: skip
    device = seen.summary.get("device") or {}
    count = threads or int(device.get("threads") or seen.config.get("threads") or 1)
    here = fingerprint(count).to_dict()
    other = [key for key in _DEVICE if device.get(key) != here[key]]
    sessions = sorted(said.get("session_ratios") or [said["ratio"]])
    given = baseline if baseline is not None else seen.file("baseline.onnx")
    found = timing.timed(given, seen.file("model.onnx"), count, feed=seen.feed)
    quiet = timing.quiet_latency(given, count, seen.feed)
    for what, told, now, good in (
        ("latency", after["latency_measured_s"], found["ratio"] * quiet, _meet(sessions, found["session_ratios"])),
        ("latency as given", unit, quiet, abs(quiet / unit - 1) <= OF_SECONDS),
    ):
        if other:
            names = ", ".join(f"{key} {device.get(key)!s:.60} there, {here[key]!s:.60} here" for key in other)
            yield Claim(what, told, now, "elsewhere", f"belongs to another device: {names}", "s")
        else:
            why = f"{found['ratio']:.3f} of that as given, {said['ratio']:.3f} was said" if what == "latency" else ""
            yield Claim(what, told, now, "holds" if good else "fails", why, "s")


def _meet(said: list[float], found: list[float]) -> bool:
    """Whether two lists of sessions' ratios overlap, with room for what other sessions may differ by."""
    return min(found) <= max(said) * (1 + OF_RATIO) and max(found) >= min(said) * (1 - OF_RATIO)
