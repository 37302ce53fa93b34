"""``moesim trace import|info|validate`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli.trace import app
from simulator.errors import InputError
from simulator.trace.parquet import write_trace
from tests.trace.examples import random_trace
from tests.trace.importers.test_bigmoe import BIGMOE


def test_import_info_validate(tmp_path: Path) -> None:
    source, out = tmp_path / "r.csv", tmp_path / "t.parquet"
    source.write_text(BIGMOE)
    run = CliRunner()
    done = run.invoke(
        app, ["import", str(source), "--format", "bigmoe", "-o", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "5 tokens" in done.stdout
    assert run.invoke(app, ["validate", str(out)]).exit_code == 0
    facts = json.loads(run.invoke(app, ["info", str(out), "--json"]).stdout)
    assert (facts["tokens"], facts["prefill_tokens"], facts["sequences"]) == (5, 3, 2)
    assert facts["header"]["moe_layers"] == [1, 3]
    assert facts["all_experts_bytes"] == 9 * 40
    assert facts["file_bytes"] == out.stat().st_size
    table = run.invoke(app, ["info", str(out)])
    assert table.exit_code == 0
    assert "My-MoE" in table.stdout


def test_bad_input_propagates_and_writes_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "r.csv", tmp_path / "t.parquet"
    source.write_text(BIGMOE.replace("0,0,0,1,1,6", "0,0,0,1,1,5"))
    with pytest.raises(InputError):
        CliRunner().invoke(
            app, ["import", str(source), "--format", "bigmoe", "-o", str(out)], catch_exceptions=False
        )
    assert not out.exists()
    write_trace(random_trace(), out)
    out.write_bytes(out.read_bytes()[:-9])
    for command in ("info", "validate"):
        with pytest.raises(InputError, match="truncated"):
            CliRunner().invoke(app, [command, str(out)], catch_exceptions=False)


def test_options_reach_the_importer(tmp_path: Path) -> None:
    for key in ("experts", "experts="):
        arguments = [
            "import",
            str(tmp_path),
            "--format",
            "npz",
            "-o",
            "x",
            "--axes",
            "token,layer,k",
            "--key",
            key,
        ]
        with pytest.raises(InputError, match="--key"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
