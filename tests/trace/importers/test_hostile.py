"""Hostile files: each is refused in one line, in bounded memory, and nothing is written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.errors import InputError
from simulator.trace.importers import limits
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from tests.places import ROOT
from tests.trace.examples import one_line
from tests.trace.importers.every_format import FILES
from tests.trace.importers.trace_files import N_EXPERTS, write

GIB = 2**30
ADDRESS_SPACE = 640 * 2**20  # Python, numpy and pyarrow map half of it before anything is read
ARRAYS = ImportOptions(axes=("token", "layer", "k"), n_experts=N_EXPERTS, phase="decode")
GENERIC = ImportOptions(n_experts=N_EXPERTS, phase="decode")


def victim(path: Path) -> Path:
    """Return the file, or a file of the folder."""
    return path if path.is_file() else min(path.iterdir())


def refusal(path: Path, name: str, options: ImportOptions | None = None) -> str:
    """Return the one line of an import that must fail."""
    with pytest.raises(InputError) as caught:
        import_trace(path, name.partition(":")[0], options)
    line = one_line(caught.value)
    assert len(line) < 700
    return line


def nothing(data: bytes) -> bytes:
    return b""


def half(data: bytes) -> bytes:
    """Cut in the middle, of a text inside a line: what ends with a line may well be whole."""
    end = data.rfind(b"\n", 0, len(data) // 2)
    return data[: end + 4] if end > 0 else data[: len(data) // 2]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def another_magic(data: bytes) -> bytes:
    return b"GIF89a" + data[6:-8] + b"GIF89aGI"


def latin1(data: bytes) -> bytes:
    return b"\xff\xfe\xe9" + data


def megabyte_of_header(data: bytes) -> bytes:
    return b"#" + b"x" * 1_000_000 + b"\n" + data


BROKEN = (nothing, half, zeros, another_magic, latin1, megabyte_of_header)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", BROKEN)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path, options = FILES[name](tmp_path)
    file = victim(path)
    file.write_bytes(change(file.read_bytes()))
    assert str(file.parent) in refusal(path, name, options)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_for_a_file_and_a_file_for_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    path, options = FILES[name](tmp_path)
    file = victim(path)
    if path.is_file():
        (tmp_path / "folder").mkdir()
        assert "folder" in refusal(tmp_path / "folder", name, options)
    elif name not in ("gpt-oss-json", "qwen1.5-json", "megatron"):  # which read a file as well
        assert str(file) in refusal(file, name, options)
    file.unlink()
    file.mkdir()
    refusal(path, name, options)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_and_a_device_are_refused_without_being_read(tmp_path: Path, name: str) -> None:
    path, options = FILES[name](tmp_path)
    file = victim(path)
    file.unlink()
    os.mkfifo(file)
    assert "is no plain file" in refusal(path, name, options)
    file.unlink()
    file.symlink_to("/dev/zero")
    assert "is no plain file" in refusal(path, name, options)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("name", FILES)
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str) -> None:
    path, options = FILES[name](tmp_path)
    victim(path).chmod(0)
    refusal(path, name, options)


# Text: numbers, nesting, keys, encodings.

DEEP = "[" * 100_000
MANY_DIGITS, LONG = "9" * 5000, "9" * 400
TEXTS = {
    "jsonl": [
        DEEP,
        '{"experts": ' * 50_000,
        '{"experts": [[@]]}'.replace("@", MANY_DIGITS),
        '{"experts": [[@]]}'.replace("@", LONG),
        '{"experts": [[NaN]]}',
        '{"experts": [[Infinity]]}',
        '{"experts": [[1e30]]}',
        '{"experts": [[1]], "weights": [[NaN]]}',
        '{"experts": [[1]], "weights": [[-Infinity]]}',
        '{"experts": [[1]], "weights": [[1e300]]}',
        '{"experts": [[1]], "weights": [[@]]}'.replace("@", LONG),
        '{"experts": [[1]], "position": @}'.replace("@", LONG),
        '{"experts": [["one"]]}',
        '{"experts": [[[1]]]}',
        '{"experts": [[1]], "experts": [[2]]}',
        '{"experts": {"@": [1]}}'.replace("@", LONG),
        '{"experts": {"@": [1]}}'.replace("@", MANY_DIGITS),
        '{"experts": [[1]], "@": 1}'.replace("@", "x" * 10_000),
        '{"experts": [[1]], "position": 1}\n{"experts": [[1]], "position": 0}',
        '{"experts": [[1]]}' + " " * limits.MOST_LINE,
    ],
    "csv": [
        "position,layer,expert\n0,0,@\n".replace("@", MANY_DIGITS),
        "position,layer,expert\n@,0,0\n".replace("@", LONG),
        "position,layer,expert\n0,0,0\n" + "0" * 3_000_000,
        "position,layer,expert," + ",".join(map(str, range(40_000))) + "\n0,0,0\n",
        "position,layer,expert\n0,0,\xe9\n",
        "position,layer,expert\n0,0,0\x00\n",
        "position,layer," + "e" * 200_000 + "\n",
        '"position,layer,expert\n0,0,0\n',
    ],
    "llama-cpp": [
        "# moesim llama.cpp routing 1 " + "x=" + "y" * 300_000,
        "# moesim llama.cpp routing 1\n" * 9999,
    ],
    "bigmoe": [
        "# route_trace v1\n# model=m n_layer=@ n_expert=1 n_expert_used=1\n".replace("@", MANY_DIGITS),
        "# route_trace v1\n# layer=@\n".replace("@", MANY_DIGITS),
    ],
    "qwen1.5-json": [DEEP, '{"meta": {"model_id": @}}'.replace("@", MANY_DIGITS), '{"meta": 1, "meta": 2}'],
    "gpt-oss-json": [
        DEEP,
        '{"router_data": [{"token_@": {}}]}'.replace("@", MANY_DIGITS),
        "null",
        "[]",
        '"text"',
    ],
}


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, texts in TEXTS.items() for text in texts],
    ids=lambda value: value[:40].replace("\n", " ") if len(value) > 12 else value,
)
def test_hostile_text_is_refused(tmp_path: Path, name: str, text: str) -> None:
    options = ImportOptions() if name not in ("jsonl", "csv") else GENERIC
    refusal(write(tmp_path / "file", text), name, options)


def test_deep_nesting_inside_a_file_that_is_otherwise_whole(tmp_path: Path) -> None:
    path, options = FILES["qwen1.5-json"](tmp_path)
    file = victim(path)
    content = file.read_text()
    file.write_text(content.replace('"experts": [', '"experts": ' + "[" * 990, 1))
    refusal(path, "qwen1.5-json", options)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", "-1", '"0.5"', "null", "[]", "{}", LONG])
@pytest.mark.parametrize("name", ["qwen1.5-json", "gpt-oss-json"])
def test_json_weights_that_are_no_weights(tmp_path: Path, name: str, value: str) -> None:
    path, options = FILES[name](tmp_path)
    file = victim(path)
    text = file.read_text()
    assert "0.5," in text
    file.write_text(text.replace("0.5,", value + ",", 1))
    if value == '"0.5"':  # a number in quotes is the number
        import_trace(path, name, options)
        return
    refusal(path, name, options)


@pytest.mark.parametrize(
    "words", [("1", "9" * 400), ("1", "nine"), ("0.5", "nan"), ("0.5", "1e400"), ("0.5", "")]
)
def test_esft_numbers(tmp_path: Path, words: tuple[str, str]) -> None:
    path, options = FILES["esft"](tmp_path)
    file = victim(path)
    text = file.read_text()
    assert words[0] in text
    file.write_text(text.replace(words[0], words[1], 1))
    refusal(path, "esft", options)


@pytest.mark.parametrize("k", [0, -1, -2])
def test_esft_needs_a_k(tmp_path: Path, k: int) -> None:
    path, _ = FILES["esft"](tmp_path)
    line = refusal(path, "esft", ImportOptions(n_experts=N_EXPERTS, top_k=k))
    assert ("--top-k" in line) == (k < 0)  # 0 means: not given


# Arrays: headers that lie, bombs, pickles.


def npy_bytes(descr: str, shape: str, data: bytes = b"", version: int = 1) -> bytes:
    """Return an npy with this header, written by hand."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


HEADERS = {
    "a shape of exabytes": npy_bytes("'<i8'", "(1000000000, 1000000000, 8)"),
    "a shape of more than there is": npy_bytes("'<i8'", "(4, 3, 2)", bytes(100)),
    "a shape of less than there is": npy_bytes("'<i8'", "(4, 3, 2)", bytes(300)),
    "a negative shape": npy_bytes("'<i8'", "(-4, -3, 2)", bytes(192)),
    "a shape that is no tuple": npy_bytes("'<i8'", "7", bytes(56)),
    "a huge number in the shape": npy_bytes("'<i8'", f"({LONG}, 1, 1)"),
    "objects": npy_bytes("'|O'", "(1, 1, 1)", b"cos\nsystem\n(S'true'\ntR."),
    "no bytes a value": npy_bytes("'<U0'", "(1000000000000, 1, 1)"),
    "an unknown dtype": npy_bytes("'<q9'", "(1, 1, 1)", bytes(8)),
    "nested dtypes": npy_bytes("[" * 200 + "]" * 200, "(1, 1, 1)", bytes(8)),
    "code for a header": npy_bytes("__import__('os').system('true')", "(1, 1, 1)", bytes(8)),
    "text": npy_bytes("'<U8'", "(1, 1, 1)", bytes(32)),
    "decimals": npy_bytes("'<f8'", "(1, 1, 1)", bytes(8)),
    "fields": npy_bytes("[('a', '<i4'), ('b', '<i4')]", "(1, 1, 1)", bytes(8)),
    "another version": npy_bytes("'<i8'", "(1, 1, 1)", bytes(8), version=9),
    "an unfinished header": b"\x93NUMPY\x01\x00\xff\xff{'descr': (((((",
    "a long header": npy_bytes("'<i8'", "(1, 1, 1)" + " " * 200_000, bytes(8), version=2),
}


@pytest.mark.parametrize("data", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_lie(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    refusal(tmp_path / "a.npy", "npz", ARRAYS)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("experts.npy", data)
    refusal(tmp_path / "a.npz", "npz", ARRAYS)


def bomb(path: Path, n_blocks: int, entries: int = 1) -> Path:
    """Write an npz by hand, of entries that inflate to ``n_blocks`` MiB of zeros, with wrong sums."""
    header = npy_bytes("'<i8'", f"({n_blocks << 17}, 1, 1)")
    deflate = zlib.compressobj(9, wbits=-15)
    start = deflate.compress(header) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = start + block * n_blocks + deflate.flush()
    body, directory = b"", b""
    for index in range(entries):
        name = f"experts{index or ''}.npy".encode()
        sizes = struct.pack("<IIIHH", 0, len(data), len(header) + (n_blocks << 20), len(name), 0)
        common = struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes
        directory += b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + common + name + data
    end = struct.pack("<HHHHIIH", 0, 0, entries, entries, len(directory), len(body), 0)
    path.write_bytes(body + directory + b"PK\x05\x06" + end)
    return path


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path / "bomb.npz", 32, entries=3)
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(limits, "MOST_BYTES", 64 << 20)

    def inflate(*_: object) -> None:
        pytest.fail("an entry was opened")

    monkeypatch.setattr(zipfile.ZipFile, "open", inflate)
    assert "bytes when decoded; at most 67,108,864 an import" in refusal(path, "npz", ARRAYS)
    assert "bytes when decoded" in refusal(path, "gpt-oss-npz")


def test_a_zip_whose_list_says_less_than_it_inflates_to(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.npz", 8)
    size = struct.pack("<I", (8 << 20) + len(npy_bytes("'<i8'", f"({1 << 20}, 1, 1)")))
    data = path.read_bytes()
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, struct.pack("<I", 200)))
    assert "Bad CRC-32" in refusal(path, "npz", ARRAYS)


def test_a_zip_that_begins_with_something_else(tmp_path: Path) -> None:
    path, options = FILES["npz"](tmp_path)
    path.write_bytes(b"MZ" + path.read_bytes())  # a program, with a zip behind it
    assert "not a zip file" in refusal(path, "npz", options)


def test_a_zip_with_a_long_list_of_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for index in range(6000):
            file.writestr(f"{index}.npy", b"")
    assert "a list of entries of" in refusal(tmp_path / "a.npz", "npz", ARRAYS)


def test_a_zip_with_one_name_twice_or_a_wrong_sum(tmp_path: Path) -> None:
    data = npy_bytes("'<i8'", "(1, 1, 1)", bytes(8))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("experts.npy", data)
        file.writestr("experts", data)
    assert "an array twice" in refusal(tmp_path / "a.npz", "npz", ARRAYS)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("experts.npy", data)
    changed = (tmp_path / "b.npz").read_bytes().replace(data, data[:-1] + b"\x01")
    (tmp_path / "b.npz").write_bytes(changed)
    assert "Bad CRC-32" in refusal(tmp_path / "b.npz", "npz", ARRAYS)
    assert zlib.crc32(data)


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "made by a pickle"),)

    array = np.empty((1, 1, 1), dtype=object)
    array[0, 0, 0] = Code()
    np.savez(tmp_path / "a.npz", experts=array)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert "never read" in refusal(tmp_path / "a.npz", "npz", ARRAYS)
    assert "never read" in refusal(tmp_path / "a.npy", "npz", ARRAYS)
    assert not (tmp_path / "made by a pickle").exists()


# Tables: a few bytes that stand for many.


def test_a_sparse_table_is_refused_before_its_dense_array_is_made(tmp_path: Path) -> None:
    lines = "\n".join(f"{index},{index},0" for index in range(30_000))
    path = write(tmp_path / "a.csv", "position,layer,expert\n" + lines + "\n")
    assert "14,400,000,000 bytes when decoded" in refusal(path, "csv", GENERIC)
    text = "".join(json.dumps({"experts": {str(index // 4): [0]}}) + "\n" for index in range(40_000))
    path = write(tmp_path / "a.jsonl", text)
    assert "6,400,000,000 bytes when decoded" in refusal(path, "jsonl", GENERIC)
    text = "# route_trace v1\n# model=m n_layer=2 n_expert=2 n_expert_used=999999999\n"
    text += "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n0,0,0,0,0,0,1,0,0\n"
    assert "bytes when decoded" in refusal(write(tmp_path / "b.csv", text), "bigmoe")


def test_files_that_are_too_large_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_BYTES", 100)
    for name, make in FILES.items():
        folder = tmp_path / name.replace(":", "-")
        folder.mkdir()
        path, options = make(folder)
        assert "at most 100 an import" in refusal(path, name, options)


@pytest.mark.parametrize(("n_rows", "k"), [(200_000, 2), (100, 100_000)])
def test_parquet_of_many_equal_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_rows: int, k: int
) -> None:
    columns = {name: pa.array([0] * n_rows, pa.int32()) for name in ("prompt_id", "token_idx", "layer_idx")}
    column = pa.array([[0] * k] * n_rows, pa.list_(pa.int32()))
    pq.write_table(pa.table(columns | {"selected_experts": column}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    monkeypatch.setattr(limits, "MOST_BYTES", 6_000_000)
    assert "bytes when decoded" in refusal(tmp_path / "a.parquet", "moe-policylang", GENERIC)


def test_a_parquet_footer_on_which_pyarrow_ends_the_process(tmp_path: Path) -> None:
    """A histogram of levels of the wrong length: fatal where the sizes of a column are asked for."""
    path, options = FILES["flame-moe"](tmp_path)
    for file in sorted(path.iterdir())[1:]:
        file.unlink()
    file = victim(path)
    data = file.read_bytes()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    for at in range(128):  # the first column's description
        changed = bytearray(footer)
        changed[at] ^= 0x70  # the number of entries, where a list begins
        file.write_bytes(data[: -8 - len(footer)] + bytes(changed) + data[-8:])
        with contextlib.suppress(InputError):
            import_trace(path, "flame-moe", options)


# The same in a process that has little memory, through the command line.

LIMITED: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "a bomb of 3.9 GiB": lambda folder: (bomb(folder / "a.npz", 3993), "npz"),
    "a bomb of 12 GiB": lambda folder: (bomb(folder / "a.npz", 4000, 3), "npz"),
    "a file of 100 GiB": lambda folder: (sparse(folder / "a.jsonl", 100 * GIB), "jsonl"),
    "a line of 1 GiB": lambda folder: (sparse(folder / "a.csv", GIB), "csv"),
    "a JSON of lists": lambda folder: (
        write(folder / "a.json", "[[]" + ",[]" * (6 << 20) + "]"),
        "qwen1.5-json",
    ),
}
WORDS = ["--n-experts", "8", "--phase", "decode"]


def sparse(path: Path, n_bytes: int) -> Path:
    """Write a file of zeros that takes no space."""
    with path.open("wb") as file:
        file.truncate(n_bytes)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize("make", LIMITED.values(), ids=LIMITED.keys())
def test_little_memory_is_enough_to_refuse(tmp_path: Path, make: Callable[[Path], tuple[Path, str]]) -> None:
    path, name = make(tmp_path)
    out = ["--out", str(tmp_path / "out.parquet")]
    words = [
        *(WORDS if name != "qwen1.5-json" else []),
        *(["--axes", "token,layer,k"] if name == "npz" else []),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli", "trace", "import", str(path), "--format", name, *out, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    assert {file.name for file in tmp_path.iterdir()} == {path.name}
