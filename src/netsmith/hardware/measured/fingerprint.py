"""Which machine, runtime and threads a measurement belongs to: a readable record and a stable hash of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

#: Instruction sets for which ONNX Runtime has kernels of their own.
_FLAGS = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8",
    "amx_bf16", "amx_tile", "asimd", "neon", "asimddp", "i8mm", "bf16", "sve", "sve2", "fphp",
)  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """A device as far as a latency depends on it.

    Attributes:
        processor: model name.
        flags: instruction sets that matter, sorted.
        cores: logical processors that this process may use.
        threads: intra-operator threads.
        os: operating system and machine architecture.
        runtime: version of ONNX Runtime.
        python: version of Python.
    """

    processor: str
    flags: tuple[str, ...]
    cores: int
    threads: int
    os: str
    runtime: str
    python: str

    def to_dict(self) -> dict[str, object]:
        """The readable record, of JSON types."""
        return {
            "processor": self.processor, "flags": list(self.flags), "cores": self.cores, "threads": self.threads,
            "os": self.os, "runtime": f"onnxruntime {self.runtime}", "python": self.python,
        }  # fmt: skip

    @property
    def hash(self) -> str:
        """16 hexadecimal digits, equal for equal records."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(threads: int = 1) -> Fingerprint:
    """The record of this machine."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        runtime = version("onnxruntime")
    except PackageNotFoundError:
        runtime = "absent"
    processor, flags = _processor()
    affinity = getattr(os, "sched_getaffinity", None)
    return Fingerprint(
        processor=processor, flags=tuple(sorted(set(flags) & set(_FLAGS))),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1, threads=threads,
        os=f"{platform.system()} {platform.machine()}", runtime=runtime, python=platform.python_version(),
    )  # fmt: skip


def _processor() -> tuple[str, list[str]]:
    """Model name and flags; from the kernel's list where there is one."""
    record: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            field, _, value = line.partition(":")
            record.setdefault(field.strip().lower(), value.strip())
    except OSError:
        pass
    name = record.get("model name") or record.get("hardware") or platform.processor() or platform.machine()
    # families and models tell processors apart that a hypervisor shows under one name
    numbers = [record[k] for k in ("cpu family", "model", "stepping", "cpu part") if k in record]
    flags = (record.get("flags") or record.get("features") or "").split()
    return f"{name} ({'/'.join(numbers)})" if numbers else name, flags
