"""Traces read in chunks: the same tokens and numbers, damage and bombs refused, memory by chunk."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.trace import footer, parquet, stream
from simulator.trace.core import DECODE, Trace, TraceHeader
from simulator.trace.footer import read_trace_header
from simulator.trace.info import lag1_reuse, summarise, summary, top_share
from simulator.trace.parquet import TraceWriter, read_trace, write_trace
from simulator.trace.parts import gathered, join, n_bytes, take
from simulator.trace.stream import read_chunks, read_sequences
from simulator.trace.thrift import NOT_THRIFT, Compact
from tests.places import ROOT
from tests.trace.examples import assert_same, one_line, random_trace


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), most=st.integers(1, 7), rows=st.integers(1, 20), ahead=st.integers(0, 2))
def test_chunks_and_sequences_are_the_trace(seed: int, most: int, rows: int, ahead: int) -> None:
    """Wherever the row groups of the file end: in the midst of a token too."""
    trace = random_trace(seed, ahead=ahead, extras=seed % 3 == 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_trace(trace, path)
        pq.write_table(pq.read_table(path), path, row_group_size=rows, write_page_checksum=True)
        chunks = list(read_chunks(path, most))
        assert [chunk.n_tokens for chunk in chunks[:-1]] == [most] * (len(chunks) - 1)
        assert_same(join(chunks), trace)
        assert_same(join(list(read_chunks(path))), trace)
        sequences = list(read_sequences(path))
        assert [set(one.sequence.tolist()) for one in sequences] == [{n} for n in np.unique(trace.sequence)]
        assert_same(join(sequences), trace)
        facts = summary(read_trace(path))
        assert summarise(read_chunks(path, most)) == facts
        for phase, code in (("prefill", 0), ("decode", 1)):
            assert lag1_reuse(trace, trace.phase == code) == facts["lag1_reuse"][phase]
            assert top_share(trace, trace.phase == code) == facts["top_share"][phase]
        assert_same(join(list(gathered(chunks, n_bytes(trace) // 2))), trace)


def test_a_sequence_of_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = random_trace(4)
    trace = replace(trace, sequence=trace.sequence * 0, position=np.arange(trace.n_tokens, dtype=np.int32))
    trace = replace(trace, phase=trace.phase * 0)
    write_trace(trace, tmp_path / "t")
    monkeypatch.setattr(stream, "CHUNK_BYTES", 1)
    (whole,) = read_sequences(tmp_path / "t")
    assert_same(whole, trace)
    monkeypatch.setattr(stream, "MOST_SEQUENCE", n_bytes(trace) - 1)
    with pytest.raises(InputError, match="sequence 0 takes more than"):
        list(read_sequences(tmp_path / "t"))


@pytest.mark.parametrize(
    ("name", "value"), [("sequence", 0), ("position", 3), ("phase", 0)], ids=["sequence", "position", "phase"]
)
def test_a_seam_is_checked_like_any_pair(name: str, value: int, tmp_path: Path) -> None:
    """Tokens 0-2 and 3-5 are each a valid trace; together they are not."""
    base = join([random_trace(seed) for seed in (0, 2, 4)])
    trace = replace(
        take(base, slice(6)),
        sequence=np.full(6, 1, np.int32),
        position=np.arange(6, dtype=np.int32) + 3 * (np.arange(6) >= 3).astype(np.int32),
        phase=np.full(6, DECODE, np.uint8),
    )
    array = getattr(trace, name)
    array[3:] = value if name != "position" else [1, 2, 3]
    path = tmp_path / "t"
    with pytest.raises(InputError):
        write_trace(trace, path)
    unchecked(trace, path)
    with pytest.raises(InputError, match="does not follow the last chunk"):
        list(read_chunks(path, 3))
    with pytest.raises(InputError):
        read_trace(path)


def unchecked(trace: Trace, path: Path) -> None:
    """Write a trace that may be invalid."""
    good = replace(trace, sequence=np.arange(trace.n_tokens, dtype=np.int32))
    write_trace(good, path)
    table = pq.read_table(path)
    for name in ("sequence", "position", "phase"):
        values = pa.array(np.repeat(getattr(trace, name), trace.header.n_layers))
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, path)


def test_large_chunks_become_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = random_trace(4, extras=True)
    monkeypatch.setattr(parquet, "GROUP_BYTES", n_bytes(trace) // trace.n_tokens * 2)
    write_trace(trace, tmp_path / "t")
    footer = pq.ParquetFile(tmp_path / "t").metadata
    assert footer.num_row_groups == -(-trace.n_tokens // 2)
    assert_same(read_trace(tmp_path / "t"), trace)


def test_sizes_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t"
    trace = random_trace(4, extras=True)
    long = trace.header.model_copy(update={"notes": "x" * 300_000})
    with pytest.raises(InputError, match="a header of 300"):
        write_trace(replace(trace, header=long), path)
    write_trace(trace, path)
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "MOST_BYTES", n_bytes(trace) - 1)
        with pytest.raises(InputError, match="cut it with moesim trace slice"):
            read_trace(path)
    with monkeypatch.context() as patch:
        patch.setattr(footer, "MOST_TOKEN", 100)
        with pytest.raises(InputError, match="a token takes"):
            read_trace(path)
    assert_same(read_trace(path), trace)


# Hostile files


def refused(path: Path, words: str) -> None:
    """Assert that every reader refuses the file in one line."""
    for read in (read_trace, lambda p: list(read_chunks(p)), lambda p: list(read_sequences(p))):
        with pytest.raises(InputError, match=words) as caught:
            read(path)
        assert str(path) in one_line(caught.value)


def test_a_megabyte_of_header(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_trace(random_trace(4), path)
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[b"moesim.header"]) | {"notes": "x" * 2**20}
    pq.write_table(table.replace_schema_metadata({"moesim.header": json.dumps(said)}), path)
    refused(path, "not a whole Parquet file")
    with pytest.raises(InputError, match="not a whole Parquet file"):
        read_trace_header(path)
    write_trace(random_trace(4), path)
    assert read_trace_header(path) == random_trace(4).header


def test_a_footer_of_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"PAR1" + b"\0" * 100 + struct.pack("<I", 2**31) + b"PAR1")
    refused(path, "its footer claims 2,147,483,648 bytes")


def test_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_trace(random_trace(4), path)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    refused(path, "no tokens")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_page_that_decompresses_to_much(tmp_path: Path, version: str) -> None:
    """One page of 60 MB of zeros, which zstd makes a few kilobytes."""
    n_tokens, path = 5_000_000, tmp_path / "bomb"
    table = plain_table(n_tokens)
    pq.write_table(
        table, path, row_group_size=n_tokens, data_page_size=2**30, compression="zstd", use_dictionary=False,
        max_rows_per_page=n_tokens, data_page_version=version,
    )  # fmt: skip
    assert path.stat().st_size < 1_000_000
    refused(path, r"a page claims [\d,]+ bytes; at most 16,777,216")


def plain_table(n_tokens: int) -> pa.Table:
    """Return the rows of a trace of one layer, one expert; positions are all 0."""
    header = TraceHeader(
        model="m", n_layers=1, n_experts=1, top_k=1, moe_layers=(0,), n_model_layers=1, recorder="r"
    )
    zeros = np.zeros(n_tokens, np.int32)
    ids = pa.array(np.zeros(n_tokens, np.int8))
    lists = pa.FixedSizeListArray.from_arrays(ids, type=pa.list_(pa.field("element", pa.int8(), False), 1))
    columns = {
        "sequence": zeros,
        "position": zeros,
        "layer": zeros.astype(np.int16),
        "phase": zeros.astype(np.uint8),
    }
    table = pa.table({**columns, "experts": lists})
    return table.replace_schema_metadata({"moesim.header": header.model_dump_json()})


def test_a_footer_with_other_rows_than_its_row_groups(tmp_path: Path) -> None:
    """Rows are field 3 of the footer, after the schema: 39, as a Thrift i64, made 36."""
    path = tmp_path / "t"
    write_trace(random_trace(4), path)
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    ours = content.index(b"\x16\x4e\x19", start)  # followed by field 4, the list of row groups
    path.write_bytes(content[:ours] + b"\x16\x48" + content[ours + 2 :])
    refused(path, "36 rows, 39 in its row groups")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_footers_and_page_headers_never_crash(data: st.DataObject) -> None:
    """Without checksums of the footer, anything may stand there."""
    trace = random_trace(7, ahead=1, extras=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        write_trace(trace, path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        for read in (read_trace, lambda p: join(list(read_chunks(p, 2)))):
            try:
                read(path)
            except InputError as error:
                one_line(error)


def test_a_damaged_page_header_never_shortens_a_trace(tmp_path: Path) -> None:
    """A page that says it holds nothing ends its column: what is read is all of the trace, or refused."""
    write_trace(trace := random_trace(7, ahead=1, extras=True), tmp_path / "t")
    whole = (tmp_path / "t").read_bytes()
    for at in range(4, 120):
        for value in (0, 1):
            (tmp_path / "t").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                assert sum(chunk.n_tokens for chunk in read_chunks(tmp_path / "t", 2)) == trace.n_tokens
            except InputError as error:
                one_line(error)


def compact(*fields: tuple[int, bytes]) -> Compact:
    """Return a reader of a struct whose fields, one after another, have these types and bytes."""
    return Compact(b"".join(bytes([0x10 | kind]) + value for kind, value in fields) + b"\0")


def test_thrift_values_by_the_specification() -> None:
    """Zigzag: 0, -1, 1, -2 are 0, 1, 2, 3; a list's size is in its first byte, or after it from 15 on."""
    fields = [
        (1, b""), (2, b""), (3, b"\x07"), (4, b"\x01"), (5, b"\x03"), (6, b"\xac\x02"), (7, b"\0" * 8),
        (8, b"\x02ab"), (9, b"\x25\x02\x04"), (9, b"\xf5\x0f" + b"\x02" * 15), (9, b"\x11\x01"),
        (12, b"\x05\x06\x09\0"),
    ]  # fmt: skip
    assert list(compact(*fields).struct().values()) == [
        True, False, None, -1, -2, 150, None, None, [1, 2], [1] * 15, [1], {3: -5},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x15", b"\x18\x05ab", b"\x1b\0\0", b"\x15\x02\x05\x02\x02\0", b"\x19\xf3\xff\xff\xff\x7f\0",
        b"\x1c" * 4096, b"\x15\xff",
    ],
    ids=["nothing", "cut", "past the end", "a map", "a field twice", "gigabytes", "deep", "endless"],
)  # fmt: skip
def test_what_is_no_struct(data: bytes) -> None:
    with pytest.raises(NOT_THRIFT):
        Compact(data).struct()


# Memory

# Freed memory goes back at once, so that what is measured is what was held, on a busy machine too.
AT_ONCE = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
PEAK = """
import re, sys, time
from pathlib import Path
import pyarrow.parquet, rich.console, rich.progress
import simulator.trace.anonymise, simulator.trace.info, simulator.trace.merge, simulator.trace.slice_
from simulator.cli import trace
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
trace.app({warm!r}, standalone_mode=False)  # what is imported at first use
before = peak()
for command in {commands!r}:
    start = time.perf_counter()
    trace.app(command, standalone_mode=False)
    print(command[0], peak() - before, f"{{time.perf_counter() - start:.1f}} s", file=sys.stderr)
"""


def many(n_sequences: int, each: int = 2000) -> Iterable[Trace]:
    """Yield sequences with routing that repeats, so that the file is small and the arrays are not."""
    layers, k = 32, 8
    header = TraceHeader(
        model="big", n_layers=layers, n_experts=128, top_k=k, moe_layers=tuple(range(layers)),
        n_model_layers=layers, recorder="test", synthetic=True,
    )  # fmt: skip
    shape = (each, layers, k)
    for number in range(n_sequences):
        yield Trace(
            header,
            np.full(each, number, np.int32),
            np.arange(each, dtype=np.int32),
            np.full(each, DECODE, np.uint8),
            np.broadcast_to(np.arange(k, dtype=np.int16), shape),
            recorded_bytes=np.zeros(shape, np.int64),
        )


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="no /proc that says how much memory was used"
)
def test_a_trace_ten_times_larger_than_the_memory_it_is_given(tmp_path: Path) -> None:
    limit = 40 * 2**20
    path, small, sizes = tmp_path / "big.parquet", tmp_path / "small.parquet", 0
    with TraceWriter(path) as writer:
        for one in many(83):
            writer.append(one)
            sizes += n_bytes(one)
    assert sizes > 10 * limit
    write_trace(random_trace(4, extras=True), small)
    source, part, rest = str(path), str(tmp_path / "part"), str(tmp_path / "rest")
    commands = [
        ["validate", source],
        ["info", source, "--json"],
        ["slice", source, "-o", part, "--tokens", "0:500"],
        ["slice", source, "-o", rest, "--sequences", "75:"],
        ["merge", part, rest, "-o", str(tmp_path / "both")],
        ["anonymise", source, "-o", str(tmp_path / "bare"), "--permute-experts", "1"],
    ]
    script = PEAK.format(
        commands=commands, warm=["slice", str(small), "-o", str(tmp_path / "s"), "--tokens", "0:"]
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | AT_ONCE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    used = [int(line.split()[1]) for line in done.stderr.splitlines()]
    assert len(used) == len(commands)
    assert max(used) < limit, done.stderr
    assert '"tokens": 166000' in done.stdout
    assert sum(chunk.n_tokens for chunk in read_chunks(tmp_path / "both")) == 83 * 500 + 8 * 2000


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_writer_leaves_no_file_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    script = """
import sys
from simulator.trace.parquet import TraceWriter
from tests.trace.examples import random_trace
with TraceWriter(sys.argv[1]) as writer:
    writer.append(random_trace(4))
    print("written", flush=True)
    sys.stdin.read()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, path], cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert not path.exists()
    write_trace(random_trace(4), path)
    assert_same(read_trace(path), random_trace(4))
