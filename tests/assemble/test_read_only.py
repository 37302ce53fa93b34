"""What runs of a sweep share, nobody can write to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.assemble.library import Library
from simulator.assemble.run import Run
from simulator.config.yaml_file import read_yaml
from simulator.experiment.sweep import expand
from simulator.trace.columns import arrays_of
from tests.places import ROOT

MINI = ROOT / "traces" / "olmoe-mini.parquet"
HOW = {
    "the whole trace": "",
    "a share to learn from": "training_share: 0.25",
    "a training trace": f"training_trace: {MINI}",
    "the first sequences": "workload: {max_sequences: 2}",
    "some tokens of each sequence": "workload: {max_decode_tokens: 4}",
}


@pytest.mark.parametrize("line", HOW.values(), ids=HOW.keys())
def test_arrays_are_read_only_however_they_are_taken(tmp_path: Path, line: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(
        f"name: e\nmodel: olmoe-1b-7b\nhardware: rtx4090-pcie4\ntrace: {MINI}\n"
        f"memory: {{gpu_expert_cache: {{fraction: 0.25}}}}\n{line}\n"
    )
    inputs, _ = Library().inputs(expand(read_yaml(path), [])[0])
    context = Run(inputs).context()
    traces = [trace for trace in (context.trace, context.training, context.learnt) if trace is not None]
    arrays = [context.popularity, *(array for trace in traces for array in arrays_of(trace).values())]
    assert len(arrays) > len(traces)
    for array in arrays:
        assert isinstance(array, np.ndarray)
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
            array.setflags(write=True)
