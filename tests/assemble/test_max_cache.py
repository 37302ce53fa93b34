"""``max`` is the largest cache that fits: not a byte less, and not a byte more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import simulator as moesim
from simulator.errors import InputError
from tests.command_line import moesim as command

BASE: dict[str, Any] = {
    "name": "test",
    "model": "mixtral-8x7b",
    "hardware": "t4-pcie3",
    "trace": "mixtral-stand-in",
    "software": "ideal",
    "workload": {"max_sequences": 1, "max_decode_tokens": 1},
    "memory": {"gpu_expert_cache": "max"},
}
SMALL = {"precision.experts": ["int4"], "precision.dense": "int8"}


def bytes_of(changes: dict[str, Any], tier: str = "gpu") -> int:
    return int(moesim.run(BASE, changes).summary[f"{tier}_expert_cache_bytes"].item())


def test_one_byte_more_does_not_fit() -> None:
    most = bytes_of({})
    assert bytes_of({"memory.gpu_expert_cache": f"{most} B"}) == most
    with pytest.raises(InputError, match=r"does not fit.* or say max"):
        bytes_of({"memory.gpu_expert_cache": f"{most + 1} B"})


def test_it_is_at_most_all_experts() -> None:
    assert bytes_of(SMALL | {"hardware": "rtx4090-pcie4"}) == 32 * 8 * 3 * 4096 * 14336 // 2


def test_a_growing_kv_cache_takes_its_share_from_it() -> None:
    reserved, grown = bytes_of({}), bytes_of({"memory.kv": "grow"})
    assert grown > reserved  # what is set aside for the longest context is in it


def test_dram_has_a_largest_cache_too() -> None:
    most = bytes_of({"memory.cpu_expert_cache": "max"}, "cpu")
    assert most > bytes_of({}) // 2
    with pytest.raises(InputError, match=r"cpu_expert_cache: does not fit|at most"):
        bytes_of({"memory.cpu_expert_cache": f"{2**40} B"}, "cpu")


def test_too_little_is_less_than_one_expert() -> None:
    with pytest.raises(InputError, match="is less than one expert"):
        bytes_of({"runtime.staging_buffers": 35})


def test_what_fits_is_printed_and_resolved_files_run_again(tmp_path: Path) -> None:
    moesim.run(BASE, out=tmp_path / "out")
    (tmp_path / "again.yaml").write_text((tmp_path / "out" / "config.resolved.yaml").read_text())
    done = command(tmp_path, "run", "again.yaml", "--out", "b")
    assert done.returncode == 0, done.stderr
    assert "gpu_expert_cache: max is 10.83 GiB" in done.stdout
    assert (tmp_path / "out" / "summary.csv").read_bytes() == (tmp_path / "b" / "summary.csv").read_bytes()
