"""A recording that was killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="the recorder needs torch: pip install 'moesim[record]'")
pytest.importorskip("transformers", reason="the recorder needs transformers: pip install 'moesim[record]'")

from simulator.cli.record import record
from simulator.errors import InputError
from simulator.trace.parquet import TraceWriter, read_trace
from simulator.trace.recorders import gates, huggingface, prompts, resume, tokens
from simulator.trace.recorders import record as recording
from tests.places import ROOT
from tests.recorder.tools import assert_same


def command(options: dict[str, Any], *more: str) -> list[str]:
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "simulator.cli", "trace", "record", *words, *more]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def interrupt_at(options: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record until ctrl-C comes, when ``batch`` batches are done."""
    whole, calls = recording.to_trace, []

    def fail(*args: Any) -> Any:
        calls.append(args)
        if len(calls) > batch:
            raise KeyboardInterrupt
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(recording, "to_trace", fail)
        with pytest.raises(KeyboardInterrupt):
            record(**options)


def parts(options: dict[str, Any]) -> Path:
    output: Path = options["output"]
    return output.with_name(f".{output.name}.parts")


def undisturbed(options: dict[str, Any]) -> bytes:
    other: Path = options["output"].with_name("undisturbed.parquet")
    record(**options | {"output": other})
    return other.read_bytes()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_recording_that_a_signal_ended(options: dict[str, Any], kind: signal.Signals) -> None:
    options["prompts"].write_text("the mill stood still\nthe river ran\nand the mill\n" * 20)
    options |= {"batch": 2, "decode": 12}
    child = subprocess.Popen(
        command(options),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(parts(options).glob("[0-9]*.parquet"))) < 2:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(kind)
    out, said = child.communicate()
    assert child.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[kind]
    assert out == "" and "Traceback" not in said
    if kind != signal.SIGKILL:
        assert "of 30 batches are kept; the same command with --resume continues" in said
    done = len(list(parts(options).glob("[0-9]*.parquet")))
    assert 2 <= done < 30 and not options["output"].exists()
    first = (parts(options) / "000000.parquet").stat().st_mtime_ns

    with pytest.raises(InputError, match=rf"interrupted, {done} batches are done; continue with --resume"):
        record(**options)
    assert (parts(options) / "000000.parquet").stat().st_mtime_ns == first
    record(**options, resume=True)
    assert not parts(options).exists()
    assert options["output"].read_bytes() == undisturbed(options)


@pytest.mark.parametrize("batch", [1, 2])
def test_wherever_it_was_interrupted(
    options: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at(options, batch, monkeypatch)
    assert f"interrupted, {batch} of 3 batches are kept" in capsys.readouterr().err
    interrupt_at(options | {"resume": True}, 1, monkeypatch) if batch == 1 else None
    record(**options, resume=True)
    assert options["output"].read_bytes() == undisturbed(options)


def test_the_file_holds_what_a_writer_that_was_never_interrupted_writes(options: dict[str, Any]) -> None:
    record(**options, batch=2, keep_text=True)
    loaded = huggingface.load(options["model"])
    ids = tokens.tokenize(loaded, prompts.read_prompts(options["prompts"]), 6, chat=False)
    found, settings = gates.find_gates(loaded.module, ids[0]), recording.Settings(6, batch=2, keep_text=True)
    header = huggingface.make_header(
        loaded, found, dtype="float32", prompt_source="prompts.txt", notes=str(settings)
    )
    straight = options["output"].with_name("straight.parquet")
    with TraceWriter(straight) as writer:
        for chunk in recording.record(loaded.module, found, header, ids, settings, stop=loaded.stop):
            writer.append(chunk)
    one, other = read_trace(straight), read_trace(options["output"])
    assert one.header == other.header
    assert_same(one, other)


def test_batches_share_row_groups(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    record(**options)
    assert pq.ParquetFile(options["output"]).num_row_groups == 1
    monkeypatch.setattr(resume, "GROUP_BYTES", 1)
    small = options["output"].with_name("small.parquet")
    record(**options | {"output": small})
    assert pq.ParquetFile(small).num_row_groups == 3


def test_nothing_is_left_where_nothing_was_recorded(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_at(options, 0, monkeypatch)
    assert capsys.readouterr().err == ""
    assert [file.name for file in options["output"].parent.iterdir()] == ["prompts.txt"]


def test_resuming_what_was_never_begun_begins(options: dict[str, Any]) -> None:
    record(**options, resume=True)
    assert options["output"].read_bytes() == undisturbed(options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decode": 7}, "the interrupted recording has decode 6, this one 7; use the same, or remove"),
        ({"keep_text": True}, "has keep_text False, this one True"),
        ({"licence": "MIT"}, "has header licence None, this one MIT"),
    ],
)
def test_other_settings_are_refused(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    interrupt_at(options, 1, monkeypatch)
    with pytest.raises(InputError, match=f"--resume: .*{said}"):
        record(**options | change, resume=True)
    assert parts(options).exists()
    record(**options, resume=True)


def test_other_prompts_weights_or_threads_are_refused(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(options, 1, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 64)
        with pytest.raises(InputError, match="has threads 1, this one 64"):
            record(**options, resume=True)
    weights = next(options["model"].glob("*.safetensors"))
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(InputError, match="has digest of its files"):
        record(**options, resume=True)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    options["prompts"].write_text("the river ran\nthe river ran\nand the mill\n")
    with pytest.raises(InputError, match="has digest of the prompts"):
        record(**options, resume=True)


def test_a_batch_that_is_damaged(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(options, 2, monkeypatch)
    part = parts(options) / "000001.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"000001\.parquet: not a whole .*; remove it and continue"):
        record(**options, resume=True)
    assert not options["output"].exists()
    part.unlink()
    record(**options, resume=True)
    assert options["output"].read_bytes() == undisturbed(options)


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_settings_that_are_damaged(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    interrupt_at(options, 1, monkeypatch)
    file = parts(options) / "settings.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError, match=r"settings\.json: cannot be read; remove .* and start anew"):
        record(**options, resume=True)


def test_a_full_disk(options: dict[str, Any]) -> None:
    """Files of at most 4 KiB: the system refuses a write in the midst of the first batch."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n{}"
    run = "from simulator.cli import main; main()"
    words = [sys.executable, "-c", limited.format(run), *command(options)[3:]]
    options["decode"] = 60
    child = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert child.returncode == 2 and len(child.stderr.splitlines()) == 1
    assert "t.parquet: cannot be written: File too large; make room" in child.stderr
    assert [file.name for file in options["output"].parent.iterdir()] == ["prompts.txt"]


def test_a_folder_that_does_not_exist(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="its folder does not exist"):
        record(**options | {"output": options["output"].parent / "none" / "t.parquet"})


def test_settings_hold_no_text(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(options, 1, monkeypatch)
    saved = json.loads((parts(options) / "settings.json").read_text())
    assert saved["decode"] == 6 and "mill" not in json.dumps({**saved, "model folder": ""})
