"""Examine the machine: Python, torch, devices, memory, packages and the hub."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from realm.core.errors import make_printable, mask_secrets

OPTIONAL = {
    "realm-slm": {
        "excel": "problems in .xlsx files",
        "gguf": "models from and to GGUF files",
        "gym": "domains of reasoning-gym",
        "serve": "realm serve",
        "tune": "realm tune",
    },
    "trl": {
        "vllm": "fast generation on a GPU",
        "deepspeed": "training on several GPUs with DeepSpeed",
        "liger": "less memory in training (use_liger_kernel)",
        "quantization": "LoRA on a model of 4 or 8 bits",
    },
}
"""Extras of packages, and what each one is for. Their metadata says which versions fit."""
FEW_GIGABYTES = 5
"""With less memory or disk than this, a real small model or its checkpoints do not fit."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one thing.

    Example: `Finding(name="torch", text="2.9.0, CUDA 12.8")`.
    """

    name: str
    text: str
    fix: str = ""
    """What to do about it; empty if it is as it should be, or if the text says it."""
    is_problem: bool = False
    """Whether it stops a run."""

    def describe(self) -> str:
        """Return the finding as one line, and its fix as another."""
        mark = "PROBLEM" if self.is_problem else "note" if self.fix else "ok"
        lines = [f"{mark:<8} {self.name:<12} {self.text}"]
        if self.fix:
            lines.append(f"{'':<21} fix: {self.fix}")
        return make_printable(mask_secrets("\n".join(lines)))


def examine_machine(folder: Path) -> Iterator[Finding]:
    """Yield findings about Python, torch, its devices and the memory.

    Args:
        folder: Where runs are written, for the free space of its disk.
    """
    wanted = metadata.metadata("realm-slm")["Requires-Python"]
    version = platform.python_version()
    is_wrong = version not in SpecifierSet(wanted)
    fix = f"make a new environment with Python {wanted}" if is_wrong else ""
    yield Finding(
        name="python", text=f"{version} (supported: {wanted})", fix=fix, is_problem=is_wrong
    )
    yield from _examine_devices()
    memory = psutil.virtual_memory()
    yield _judge_room("memory", memory.available, memory.total, "close programs, or train LoRA")
    # The nearest folder that exists: that of a run is made by its first stage.
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    disk = shutil.disk_usage(place)
    yield _judge_room("disk", disk.free, disk.total, "make room, or choose a folder with --run")


def _judge_room(name: str, free: int, total: int, advice: str) -> Finding:
    is_low = free < FEW_GIGABYTES * 2**30
    text = f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f} GiB"
    return Finding(name=name, text=text, fix=advice if is_low else "")


def _examine_devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a build for another machine fails in any way
        yield Finding(
            name="torch",
            text=f"cannot be imported ({error})",
            fix="install it anew with the command that pytorch.org/get-started names",
            is_problem=True,
        )
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a build for the CPU"
    yield Finding(name="torch", text=f"{torch.__version__}, {build}")
    threads = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} of them used by torch"
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            text = (
                f"{torch.cuda.get_device_name(number)}, {free / 2**30:.1f} GiB free of "
                f"{total / 2**30:.1f} GiB"
            )
            is_busy = free < total / 2
            fix = "another program holds its memory; see nvidia-smi" if is_busy else ""
            yield Finding(name=f"GPU {number}", text=text, fix=fix)
    elif shutil.which("nvidia-smi") and not torch.version.cuda:
        yield Finding(
            name="devices",
            text=f"this machine has nvidia-smi, and torch cannot use a GPU; {threads}",
            fix="install the CUDA build of torch that pytorch.org/get-started names",
        )
    else:
        yield Finding(
            name="devices",
            text=f"no GPU; {threads}",
            fix="a CPU trains the bundled model in minutes; train a real one on a GPU",
        )


def examine_packages() -> Iterator[Finding]:
    """Yield findings about the installed packages against the versions that are supported."""
    lines = metadata.requires("realm-slm") or []
    required = [Requirement(line) for line in lines if "extra ==" not in line]
    wrong = [found for one in required if (found := _judge_package(one, "", is_needed=True))]
    yield from wrong
    if not wrong:
        yield Finding(name="packages", text=f"all {len(required)} that are required fit")
    for package, extras in OPTIONAL.items():
        for extra, purpose in extras.items():
            parts = _find_extra(package, extra)
            # The first one is what the extra is about.
            found = _judge_package(parts[0], purpose, is_needed=False) if parts else None
            if parts and found is None:
                name = parts[0].name
                found = Finding(name=name, text=f"{metadata.version(name)} ({purpose})")
            if found:
                yield found


def _find_extra(package: str, extra: str) -> list[Requirement]:
    lines = [Requirement(line) for line in metadata.requires(package) or []]
    return [
        one
        for one in lines
        if one.marker
        and one.marker.evaluate({"extra": extra})
        and not one.marker.evaluate({"extra": ""})
    ]


def _judge_package(wanted: Requirement, purpose: str, *, is_needed: bool) -> Finding | None:
    """Return a finding about a package that is missing or of another version; else None."""
    fix = f'pip install "{wanted.name}{wanted.specifier}"'
    purpose = f" ({purpose})" if purpose else ""
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        text = f"not installed{'' if is_needed else ': optional'}{purpose}"
        return Finding(name=wanted.name, text=text, fix=fix, is_problem=is_needed)
    # Only the release counts: 2.13.0+cpu and release candidates are of 2.13.0.
    if wanted.specifier.contains(version, prereleases=True):
        return None
    text = f"{version}{purpose}; supported: {wanted.specifier}"
    return Finding(name=wanted.name, text=text, fix=fix, is_problem=is_needed)


def examine_hub(model: str | None) -> Finding:
    """Return whether the hub of Hugging Face can be reached.

    Args:
        model: A hub id whose page is asked for; None: the hub as a whole.
    """
    from huggingface_hub import HfApi, constants, get_session, get_token

    where = constants.ENDPOINT
    if constants.is_offline_mode():
        return Finding(
            name="hub",
            text="not asked: HF_HUB_OFFLINE is set, so models come from the cache only",
            fix="unset HF_HUB_OFFLINE to fetch models",
        )
    try:
        if model:
            HfApi().model_info(model, timeout=10)
        else:
            get_session().head(where, timeout=10)
    except Exception as error:  # a proxy, a firewall or a server may fail in any way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding(
            name="hub",
            text=f"{model or where}: {reason}",
            fix="check the id and the network (a gated model needs HF_TOKEN), or name a folder "
            "that holds the model",
        )
    token = "with" if get_token() else "without"
    return Finding(name="hub", text=f"{model or where}: reached, {token} a token")
