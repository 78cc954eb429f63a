"""Target ``cpu``: measured latency of this machine with ONNX Runtime, batch 1."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsmith.errors import InputError, did_you_mean, shown
from netsmith.files import check_place
from netsmith.hardware.table.keys import ENTRY, IntArray, Key, keys_of, unique_keys
from netsmith.hardware.table.limits import bound_of, least_traffic, roof_seen
from netsmith.hardware.target import Capabilities, Cost, Roof, register_target
from netsmith.network.layers import KIND, LayerTable
from netsmith.units import count_of

if TYPE_CHECKING:
    from netsmith.hardware.table.latency import LatencyTable

Progress = Callable[[int, int], None]
_OPTIONS = ("threads", "interpolate", "table")
MOST_THREADS = 1024
_LONGEST_NAME = 240  #: bytes; a little is added to it while a file is written
_AGAIN = "again"  #: keys of a campaign that was interrupted before it had repeated them


class CpuTarget:
    """Prices rows by measuring them, once a device: what is missing in the cached table is measured on first use.

    The table's file grows with every few dozen layers that are measured, so that an interruption loses seconds of work.

    The latency of a network is ``cost.fixed_s + cost.latency_s.sum(-1)``. Rows with a bit-width that has no kernel are
    priced as the next wider one that has: weights and activations of up to 8 bits run as 8 bits, all others in
    floating point.

    Args:
        threads: intra-operator threads.
        interpolate: 0 measures every width; m measures multiples of m only, and prices other widths between two of
            them linearly. Widths below m are always measured.
        path: table file; the cache's file of this device by default.
        progress: called with (done, all) while layers are measured; one that is repeated counts each time.
        seconds_per_key: measuring time aimed at for a layer.
        measure_missing: False raises on rows that the table lacks.

    Raises:
        InputError: the file is of another device, or damaged.
    """

    name = "cpu"

    def __init__(
        self,
        threads: int = 1,
        *,
        interpolate: int = 0,
        path: Path | None = None,
        progress: Progress | None = None,
        seconds_per_key: float = 0.02,
        measure_missing: bool = True,
    ) -> None:
        from netsmith.hardware.measured.fingerprint import fingerprint
        from netsmith.hardware.table.latency import LatencyTable, cached_path

        if not 1 <= threads <= MOST_THREADS:
            raise InputError(f"target cpu: threads must be 1 to {MOST_THREADS}, not {threads}")
        if interpolate < 0:
            raise InputError(f"target cpu: interpolate must be a multiple of channels or 0, not {interpolate}")
        device = fingerprint(threads)
        self.threads = threads
        self.interpolate = interpolate
        self.progress = progress
        self.path = path or cached_path(self.name, threads, device.hash)
        self.seconds_per_key = seconds_per_key
        self.measure_missing = measure_missing
        self.capabilities = Capabilities(
            # blocked floating point kernels pad channels to this; integer kernels pay in steps of 4, but all of them
            # are fastest at multiples of 16
            bits=((32, 32), (8, 8)), channel_multiple=_block(device.flags), measured=True, runs_here=True,
            monotone=False,
        )  # fmt: skip
        self._lock = threading.Lock()
        _check_folder(self.path)
        if self.path.exists() and (stored := self._stored(path is None, device.hash)):
            self.table = stored
        else:
            self.table = LatencyTable(self.name, threads, device.hash, device.to_dict())
        self.table.interpolate = bool(interpolate)
        self.table.channel_multiple = self.capabilities.channel_multiple

    def _stored(self, ours: bool, device: str) -> LatencyTable | None:
        """The table on disk; one in the cache that cannot be read (another version wrote it) is measured again."""
        from netsmith.hardware.table.latency import LatencyTable

        try:
            return LatencyTable.load(self.path, device)
        except InputError:
            if ours:
                return None
            raise

    def cost(self, table: LayerTable, batch: int = 1) -> Cost:
        """Latency of every row, ``(..., L)``, seconds; missing rows are measured first.

        Raises:
            InputError: batch is not 1, or a row cannot be run.
        """
        if batch != 1:
            raise InputError(f"target cpu measures at batch 1, not {batch}; drop the batch option")
        keys, where = unique_keys(keys_of(table))
        self._complete(keys, self.progress)
        latency = self.table.price(keys)[where]
        calibration = self.table.calibration
        return Cost(
            latency_s=latency,
            bound=bound_of(table, latency, self.table),
            traffic_bytes=least_traffic(table),
            fixed_s=0.0 if calibration is None else calibration.beta_s,
        )

    def prepare(self, table: LayerTable, progress: Progress | None = None) -> int:
        """Measure all rows of ``table`` (any population) that are missing; returns how many were."""
        keys, _ = unique_keys(keys_of(table))
        return self._complete(keys, progress or self.progress)

    def missing(self, table: LayerTable) -> int:
        """How many layers of ``table`` would have to be measured."""
        keys, _ = unique_keys(keys_of(table))
        return len(self._wanted(keys))

    def _wanted(self, keys: IntArray) -> list[Key]:
        """What is missing, and what an interrupted campaign had measured while something disturbed it."""
        wanted: dict[Key, None] = {}
        disturbed = {tuple(key) for c in self.table.campaigns for key in c.get(_AGAIN, ())}
        for row in keys.tolist():
            for key in _grid(Key(*row), self.interpolate):
                if key not in self.table.entries or key in disturbed:
                    wanted[key] = None
        return list(wanted)

    def _complete(self, keys: IntArray, progress: Progress | None) -> int:
        with self._lock:
            wanted = self._wanted(keys)
            if not wanted and self.table.calibration is not None:
                return 0
            if not self.measure_missing:
                return 0  # the look-up names the first one
            check_place(self.path, "the latency table", own=lambda path: True)  # before anything is measured
            shown = _Both(progress, len(wanted))
            if self.table.calibration is None:
                from netsmith.hardware.measured.calibrate import calibrate

                self.table.calibration = calibrate(self.threads, progress=shown.first)
                self._save()
            if wanted:
                self._measure(wanted, shown.second)
            return len(wanted)

    def _measure(self, wanted: list[Key], progress: Progress) -> None:
        """Measure and save, a chunk at a time; what is measured again takes the less disturbed of both times."""
        from netsmith.hardware.measured.microbench import Campaign, less_disturbed, measure

        steady = [pair for c in self.table.campaigns for pair in c["control_s"]]
        known = {key: self.table.entries[key] for key in wanted if key in self.table.entries}
        record: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="microseconds")}  # tells them apart too

        def keep(campaign: Campaign) -> None:
            found = {k: less_disturbed(e, known.get(k)) for k, e in campaign.entries.items()}
            self.table.entries.update(found)
            if record not in self.table.campaigns:
                for earlier in self.table.campaigns:  # what it left to be repeated is left to this one
                    _leave(earlier, [k for k in earlier.get(_AGAIN, ()) if tuple(k) not in known])
                self.table.campaigns.append(record)
            record.update({
                "keys": len(found), "drift": round(campaign.drift, 4), "control_s": list(campaign.control_s),
                "seconds": round(campaign.seconds, 2),
            })  # fmt: skip
            _leave(record, [*campaign.again, *(k for k in known if k not in campaign.entries)])
            self._save()

        measure(
            wanted, threads=self.threads, seconds_per_key=self.seconds_per_key, steady=steady, progress=progress,
            keep=keep,
        )  # fmt: skip

    def _save(self) -> None:
        from netsmith.hardware.table.latency import LatencyTable

        if self.path.exists():  # another process may have measured other layers meanwhile
            with suppress(InputError):  # what cannot be read is replaced
                self.table = self.table.merged(LatencyTable.load(self.path, self.table.fingerprint))
        self.table.save(self.path)

    def roof(self, w_bits: int, a_bits: int) -> Roof | None:
        """The best rates that the table has seen."""
        return roof_seen(self.table, max(w_bits, a_bits))


def _check_folder(path: Path) -> None:
    """Refuse a cache that can hold no table, before networks are loaded and made ready for being measured."""
    try:
        if len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise InputError(f"{path} is too long a name for the latency table; choose another")
        folder = next(folder for folder in path.parents if os.path.lexists(folder))
        is_folder = os.path.isdir(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be the file of a latency table ({error}); choose another") from error
    if not is_folder:
        raise InputError(
            f"{folder} is a file, but the latency table {path} belongs into a folder of that name; set NETSMITH_CACHE, "
            "or the option table, to another place"
        )


def _leave(campaign: dict[str, Any], again: Iterable[Iterable[int]]) -> None:
    """Note the keys that a campaign still has to repeat."""
    left = [list(key) for key in again]
    campaign.pop(_AGAIN, None)
    if left:
        campaign[_AGAIN] = left


class _Both:
    """One progress over the calibration and the layers, which are reported by themselves."""

    def __init__(self, progress: Progress | None, layers: int) -> None:
        self._show = progress or (lambda done, total: None)
        self._layers, self._before = layers, 0
        self._show(0, layers)

    def first(self, done: int, total: int) -> None:
        self._before = total
        self._show(done, total + self._layers)

    def second(self, done: int, total: int) -> None:
        self._show(self._before + done, self._before + total)


def _block(flags: tuple[str, ...]) -> int:
    """Channels in a block of the runtime's floating point layout."""
    return 16 if "avx512f" in flags or "asimd" in flags or "neon" in flags else 8


def _grid(key: Key, multiple: int) -> list[Key]:
    """The keys to measure for ``key``: itself, or its neighbours at multiples of channels."""
    if multiple <= 1 or not key.computes or key.context == ENTRY:
        return [key]

    def around(c: int) -> list[int]:
        return [c] if c < multiple or c % multiple == 0 else [c // multiple * multiple, (c // multiple + 1) * multiple]

    if key.kind == KIND["conv"] and key.groups == key.c_in and key.groups > 1:
        if key.c_in != key.c_out:
            return [key]
        return [key._replace(c_in=c, c_out=c, groups=c) for c in around(key.c_in)]
    if key.groups > 1 or key.kind == KIND["matmul"]:
        return [key]
    return [key._replace(c_in=a, c_out=b) for a in around(key.c_in) for b in around(key.c_out)]


@register_target("cpu")
def cpu(argument: str = "", **options: Any) -> CpuTarget:
    """``cpu``, ``cpu:threads=2``, ``cpu:threads=1,interpolate=16``, ``cpu:table=FILE``."""
    settings: dict[str, Any] = dict(options)
    for item in filter(None, argument.split(",")):
        name, equals, value = item.partition("=")
        if name not in _OPTIONS or not equals:
            raise InputError(
                f"target cpu has no option {shown(item)}{did_you_mean(name, list(_OPTIONS))}; write cpu:threads=2, "
                "cpu:interpolate=16 or cpu:table=FILE"
            )
        if name == "table":
            if not value:
                raise InputError("target cpu: option table needs a file; write cpu:table=FILE")
            settings["path"] = Path(value)
        elif (count := count_of(value)) is None:
            raise InputError(f"target cpu: option {name} is a whole number, not {shown(value)}")
        else:
            settings[name] = count
    return CpuTarget(**settings)
