"""Files of torch.save: what they hold comes back without torch, and what they should not hold is refused."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.trace.importers import limits
from simulator.trace.importers.torch_pickle import load
from tests.places import ROOT
from tests.trace.examples import one_line
from tests.trace.importers.torch_files import STORAGES, Tensor, Writer, save, tensor, text, whole

ADDRESS_SPACE = 1 << 30


def same(ours: Any, theirs: Any) -> bool:
    """Compare values that hold arrays."""
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.shape == theirs.shape and bool((ours == theirs).all())
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list | tuple):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and bool(ours == theirs)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(path)
    line = one_line(caught.value)
    assert line.startswith(str(path))
    assert len(line) < 600
    return line


arrays = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(sorted(STORAGES)),
    st.integers(0, 99),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | arrays
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text("abc") | st.integers(), inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(values)
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("pt") / "value.pt"
    assert same(load(save(path, value)), value)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=3),
    st.permutations(range(3)),
)
def test_views_come_back(
    tmp_path_factory: pytest.TempPathFactory, axes: list[tuple[int, int]], order: list[int]
) -> None:
    """A slice with steps, its axes in another order, is a view of the whole array's storage."""
    array = np.arange(np.prod([n for n, _ in axes]), dtype=np.int64).reshape([n for n, _ in axes])
    part = array[tuple(slice(1 if n > 1 else 0, None, step) for n, step in axes)]
    part = part.transpose([axis for axis in order if axis < part.ndim])
    first = (part.__array_interface__["data"][0] - array.__array_interface__["data"][0]) // 8
    view = Tensor(array.reshape(-1), part.shape, tuple(step // 8 for step in part.strides), first)
    path = save(tmp_path_factory.mktemp("pt") / "view.pt", view, byteorder=None)
    assert same(load(path), part)


def test_bfloat16_is_float32_with_a_short_fraction(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000, 0x7F80], dtype="<u2")
    view = Tensor(bits, (3,), (1,), storage="BFloat16Storage")
    assert same(load(save(tmp_path / "b.pt", view)), np.array([1, -2, np.inf], dtype=np.float32))


def test_storages_and_lists_may_be_shared(tmp_path: Path) -> None:
    items = np.arange(6, dtype=np.int32)
    halves = [Tensor(items, (3,), (1,), offset, key="0") for offset in (0, 3)]
    memo = b"](" + Writer().opcodes([1]) + b"q\x07h\x07er\xff\xff\xff\x7f"
    first, second, shared = load(save(tmp_path / "s.pt", [*halves, memo]))
    assert (first.tolist(), second.tolist()) == ([0, 1, 2], [3, 4, 5])
    assert shared == [[1], [1]]
    assert not first.flags.writeable


def test_torch_itself(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="only the recorder's environment has torch")
    whole_tensor = torch.arange(24, dtype=torch.int32).reshape(2, 3, 4)
    value = {
        "records": [
            {"ids": whole_tensor[:, 1:, :].clone(), "lens": None, "mode": 2, "x": 0.5, "t": (1, "a")}
        ],
        "view": whole_tensor.permute(2, 0, 1)[1:],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(True),
        **{str(kind): torch.tensor([1, 0, 3]).to(kind) for kind in (torch.float16, torch.int64, torch.uint8)},
    }
    torch.save({**value, "bf16": torch.tensor([1.5, -2]).to(torch.bfloat16)}, tmp_path / "t.pt")
    found = load(tmp_path / "t.pt")
    assert found.pop("bf16").tolist() == [1.5, -2]
    assert same(found["records"][0].pop("ids"), value["records"][0].pop("ids").numpy())
    assert found.pop("records") == value.pop("records")
    for name, expected in value.items():
        assert same(found[name], expected.numpy())


class RunsCode:
    """Unpickles as a call of os.system."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, ("touch was-here",)


def call(module: str, name: str, build: bytes = b"") -> bytes:
    """Return a pickle that calls a function, or sets the state of an object."""
    return b"\x80\x02" + f"c{module}\n{name}\n".encode() + text("1") + b"\x85R" + build + b"."


STORAGE = b"(" + text("storage") + b"ctorch\nIntStorage\n" + text("0") + text("cpu") + whole(4) + b"tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
DEEP_KEY = b"\x80\x02})" + b"\x85" * 100_000 + b"Ns."


@pytest.mark.parametrize(
    ("data", "words"),
    ids=lambda value: value if isinstance(value, str) else "pickle",
    argvalues=[
        (pickle.dumps(RunsCode(), 2), "names posix.system; only tensors"),
        (pickle.dumps(RunsCode(), 4), "opcode"),
        (pickle.dumps(RunsCode(), 0), "names posix.system"),
        (call("builtins", "eval"), "names builtins.eval"),
        (
            call("torch._utils", "_rebuild_tensor_v2.__globals__"),
            "names torch._utils._rebuild_tensor_v2.__gl",
        ),
        (call("torch", "FloatStorage.from_file"), "names torch.FloatStorage.from_file"),
        (call("collections", "OrderedDict"), "a call of no tensor"),
        (call("torch._utils", "_rebuild_tensor_v2"), "a call of no tensor"),
        (b"\x80\x02ccollections\nOrderedDict\n)R}b.", "opcode BUILD"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"),
        (b"\x80\x02(ios\nsystem\n.", "opcode INST"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02" + text("posix system") + text("1") + b"\x85R.", "a call of no tensor"),
        (b"\x80\x02" + text("0") + b"Q.", "a persistent id of no storage"),
        (b"\x80\x02" + text("x") + b"X\xff\xff\xff\x7fa.", "it may be truncated"),
        (b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.", "it may be truncated"),
        (b"\x80\x02\x8b\xff\xff\xff\x7fa.", "it may be truncated"),
        (b"\x80\x02](", "it may be truncated"),
        (b"", "it may be truncated"),
        (b"\x80\x02.", "it may be truncated"),
        (b"\x80\x02h\x05.", "it may be truncated"),
        (b"\x80\x02N\x86.", "a tuple of more than there is"),
        (b"\x80\x02N(Ne.", "an item of no list"),
        (b"\x80\x02N(NNu.", "a key of no dict"),
        (b"\x80\x02}(Nu.", "a key of no dict"),
        (DEEP_KEY, "a key that is no string or number"),
        (b"\x80\x02" + REBUILD + b"(" + STORAGE + b"tR.", "a call of no tensor"),
        (b"\x80\x02" + REBUILD + b"(" + STORAGE + whole(0) + b"NNtR.", "it may be truncated"),
        (
            b"\x80\x02" + REBUILD + b"(" + STORAGE + whole(0) + text("ab") + text("cd") + b"tR.",
            "without a shape",
        ),
    ],
)
def test_only_plain_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "x.pt", None, pickle=data, extra={"data/0": bytes(16)})
    assert words in refusal(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]


ITEMS = np.arange(12, dtype=np.int32)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (Tensor(ITEMS, (3, 4), (4, 1), 1), "does not fit its storage"),
        (Tensor(ITEMS, (13,), (1,)), "does not fit its storage"),
        (Tensor(ITEMS, (2,), (12,)), "does not fit its storage"),
        (Tensor(ITEMS, (10**6, 10**6), (0, 0)), "does not fit its storage"),
        (Tensor(ITEMS, (4, 4), (1, 1)), "does not fit its storage"),
        (Tensor(ITEMS, (2,), (2**63,)), "does not fit its storage"),
        (Tensor(ITEMS, (2,), (1,), -1), "without a shape"),
        (Tensor(ITEMS, (-1,), (1,)), "without a shape"),
        (Tensor(ITEMS, (2,), (-1,), 5), "without a shape"),
        (Tensor(ITEMS, (2,), (1, 1)), "without a shape"),
        (Tensor(ITEMS, (1,) * 9, (1,) * 9), "without a shape"),
        (Tensor(ITEMS, (0, 2**80), (1, 1)), "it may be truncated"),
        (Tensor(ITEMS, (12,), (1,), n_items=13), "has 48 bytes; the pickle says 13 of int32"),
        (Tensor(ITEMS, (12,), (1,), n_items=-12), "the pickle says -12"),
        (Tensor(ITEMS, (12,), (1,), storage="LongStorage"), "has 48 bytes; the pickle says 12 of int64"),
        (Tensor(ITEMS, (12,), (1,), storage="UntypedStorage"), "names torch.UntypedStorage"),
        (Tensor(ITEMS, (12,), (1,), storage="QInt8Storage"), "names torch.QInt8Storage"),
    ],
)
def test_a_tensor_lies_within_its_storage(tmp_path: Path, view: Tensor, words: str) -> None:
    assert words in refusal(save(tmp_path / "x.pt", view))


def test_a_tensor_is_not_a_storage(tmp_path: Path) -> None:
    """Its first axis is longer than an item, so that its offset would lead elsewhere."""
    writer = Writer()
    inner = writer.opcodes(tensor(ITEMS.reshape(3, 4)))
    data = b"\x80\x02" + REBUILD + b"(" + inner + whole(2) + whole(1) + b"\x85" + whole(1) + b"\x85tR."
    path = save(tmp_path / "x.pt", None, pickle=data, extra={"data/0": ITEMS.tobytes()})
    assert "a call of no tensor" in refusal(path)


def test_a_storage_that_is_not_there(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", tensor(ITEMS))
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist() if "data/" not in name}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    assert "no entry 'x/data/0'" in refusal(path)


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"", "not a zip file"),
        (
            lambda data: pickle.dumps(0x1950A86A20F9469CFC6C, 2) + data,
            "not a zip file; a .pt that torch.save",
        ),
        (lambda data: data[: len(data) // 2], "no directory at its end"),
        (lambda data: data + b"x", "no directory at its end"),
        (lambda data: data.replace(b"x/data.pkl", b"x/date.pkl"), "no entry 'x/data.pkl'"),
        (lambda data: data.replace(b"x/data/0", b"x/data/1", 1), "differ"),
        (
            lambda data: data.replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1),
            "magic",
        ),
        (lambda data: data.replace(ITEMS.tobytes(), ITEMS[::-1].tobytes()), "Bad CRC-32"),
        (lambda data: data.replace(b"little", b"middle"), "CRC-32"),
        (lambda data: data[:-10] + struct.pack("<I", 2**31) + data[-6:], "bytes when decoded"),
    ],
)
def test_a_damaged_zip(tmp_path: Path, change: Callable[[bytes], bytes], words: str) -> None:
    assert words in refusal(rewritten(save(tmp_path / "x.pt", tensor(ITEMS)), change))


def test_an_absurd_directory_in_64_bits(tmp_path: Path) -> None:
    """What torch writes: the directory's place in 64 bits before the record in 32."""
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    change = lambda data: data[:-22] + end64 + locator + data[-22:]  # noqa: E731 - one line beside the others
    assert "17,592,186,044,416 bytes when decoded" in refusal(
        rewritten(save(tmp_path / "x.pt", tensor(ITEMS)), change)
    )


def test_a_zip_without_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w"):
        pass
    assert "not a zip file" in refusal(tmp_path / "x.pt")
    rewritten(tmp_path / "x.pt", lambda data: b"PK\x03\x04" + data)
    assert "no entry '/data.pkl'" in refusal(tmp_path / "x.pt")


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    zeros = Tensor(np.zeros(10**6, np.int32), (10**6,), (1,))
    path = save(tmp_path / "x.pt", zeros, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    assert "entries compressed" in refusal(path)


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    """Sizes are those of the directory: two entries may say that they hold the same bytes."""
    save(tmp_path / "x.pt", [tensor(np.zeros(1000, np.int32))] * 2)
    data = (tmp_path / "x.pt").read_bytes()
    start = data.index(b"PK\x01\x02")
    first = data.index(b"PK\x03\x04", data.index(b"x/data/0"))
    shorter = data[:first] + data[start:-6] + struct.pack("<I", first) + data[-2:]
    (tmp_path / "x.pt").write_bytes(shorter)
    assert "there twice" in refusal(tmp_path / "x.pt")


def test_the_same_name_twice_and_encryption_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", 1)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("x/data.pkl", b"\x80\x02N.")
    assert "there twice" in refusal(path)

    def encrypted(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02") + 8
        return data[:at] + b"\x01" + data[at + 1 :]

    assert "encrypted" in refusal(rewritten(save(path, 1), encrypted))


def test_another_byte_order(tmp_path: Path) -> None:
    assert "not saved on a little-endian machine" in refusal(save(tmp_path / "x.pt", 1, byteorder=b"big"))


def test_more_than_an_import_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.pt", [{}] * 1000)
    monkeypatch.setattr(limits, "MOST_BYTES", 60_000)
    assert "bytes when decoded" in refusal(path)


BOMBS = {
    "memo": b"\x80\x02Nr\xff\xff\xff\xff.",
    "long bytes": b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    "laughs": b"\x80\x02]q\x00"
    + b"".join(b"](" + b"h%c" % n * 9 + b"eq%c" % (n + 1) for n in range(60))
    + b".",
    "containers": b"\x80\x02" + b"}" * 1_000_000 + b".",
    "marks": b"\x80\x02" + b"(" * 1_000_000 + b".",
    "nested": b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "expanded": b"\x80\x02" + Writer().opcodes(Tensor(ITEMS, (2**20, 2**20), (0, 0))) + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_stay_in_bounds(tmp_path: Path, name: str) -> None:
    """In a process of 1 GiB: a pickle of 1 MB may become 72 bytes a byte, and nothing more."""
    path = save(tmp_path / "x.pt", None, pickle=BOMBS[name], extra={"data/0": ITEMS.tobytes()})
    code = f"""if True:
        import resource
        from pathlib import Path
        from simulator.errors import InputError
        from simulator.trace.importers.torch_pickle import load
        resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE}, {ADDRESS_SPACE}))
        try:
            load(Path({str(path)!r}))
            print("ok")
        except InputError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
