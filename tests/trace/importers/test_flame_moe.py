"""FLAME-MoE: what its columns may be, and the samples beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.trace.examples import one_line
from tests.trace.importers.every_format import FILES
from tests.trace.importers.trace_files import LAYERS, N_EXPERTS, N_MODEL_LAYERS, write


def test_flame_layers_are_counted_from_1_and_samples_may_be_absent(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    header = import_trace(path, "flame-moe", options).header
    assert (header.model, header.moe_layers, header.n_model_layers) == (
        "flame-moe-290m",
        LAYERS,
        N_MODEL_LAYERS,
    )
    assert header.recorder == "FLAME-MoE (iter_540)"
    alone = shutil.copytree(path, tmp_path / "alone")
    trace = import_trace(alone, "flame-moe", ImportOptions(phase="decode", n_experts=N_EXPERTS))
    assert trace.token_id is None
    assert trace.header.model == "flame-moe"
    assert trace.phase.all()


def test_flame_faults(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    samples = tmp_path / "flame-moe-290m" / "samples"

    def fault() -> str:
        with pytest.raises(InputError) as caught:
            import_trace(path, "flame-moe", options)
        return one_line(caught.value)

    (samples / "001.parquet").unlink()
    assert "samples: 5 tokens; 7, as the layers have" in fault()
    short = pq.read_table(path / "layer_03.parquet")
    pq.write_table(short.slice(0, 4), path / "layer_03.parquet")
    assert "layer_03.parquet: (4, 2) experts, (4, 2) scores; (7, 2) in all files of iter_540" in fault()
    pq.write_table(short, path / "layer_00.parquet")
    assert "layers are counted from 1" in fault()
    pq.write_table(short.drop_columns("scores"), path / "layer_01.parquet")
    (path / "layer_00.parquet").unlink()
    assert "layer_01.parquet: no column 'scores'" in fault()


def test_samples_beyond_the_tokens_are_not_read(tmp_path: Path) -> None:
    path, options = FILES["flame-moe"](tmp_path)
    write(tmp_path / "flame-moe-290m" / "samples" / "002.parquet", "no Parquet")
    assert import_trace(path, "flame-moe", options).token_id is not None
