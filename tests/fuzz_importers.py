"""Fuzz every importer: ``python tests/fuzz_importers.py --minutes 10 --seed 0``.

Each case takes a small valid file of a format, changes it a few times, and imports it in this process,
whose memory is limited. A trace that can be written and read back is fine, and so is an InputError of one
line; anything else is a crash, printed with its number and kept. ``--case N`` runs one case again.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulator.errors import InputError
from simulator.trace.importers.options import ImportOptions
from simulator.trace.importers.registry import import_trace
from simulator.trace.parquet import read_trace, write_trace
from tests.trace.importers.every_format import FILES

MEMORY_BYTES = 2 * 2**30
SECONDS = 30  # a case that takes longer hangs
TOKEN = re.compile(rb"[0-9.eE+-]+|[A-Za-z_]+|[^A-Za-z0-9_\s]|\n")
WORDS = (
    b" -1 0 1e999 1e-999 NaN Infinity nan null true {} [] 0.5 127 128 255 32767 32768 65536 2147483647"
    b' 2147483648 4294967296 9223372036854775807 -9223372036854775809 # , \t " \\ \\ud800 ( ) ... True'
    b" prefill decode _ 1_0 |O <f8 >i2 <U4 \xd9\xa1 \xc3\xa9 \xff \x00"
)
LONG = (b"\n", b"\t\t", b"9" * 400, b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"x" * 3000)
NASTY = (*WORDS.split(b" "), *LONG)
OTHER_NAMES = ("layer_07.parquet", "expert_weights_3.txt", "z.json")
SCALARS = (None, -1, 0, 1, 7, 8, 255, 40_000, 2**31 - 1, -(2**31))

Random = random.Random


def flip_bits(data: bytes, rng: Random) -> bytes:
    """Flip a few bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: Random) -> bytes:
    """Cut the end or the beginning."""
    at = rng.randint(0, len(data))
    return data[:at] if rng.random() < 0.8 else data[at:]


def splice(data: bytes, rng: Random) -> bytes:
    """Repeat, remove or move a piece."""
    start, end, at = sorted(rng.randint(0, len(data)) for _ in range(3))
    piece = data[start:end]
    return rng.choice(
        [
            data[:at] + piece + data[at:],
            data[:start] + data[end:],
            data[:start] + data[end:at] + piece + data[at:],
        ]
    )


def change_tokens(data: bytes, rng: Random) -> bytes:
    """Replace, remove, repeat or swap a word, a number or a sign."""
    tokens = list(TOKEN.finditer(data, 0, 1_000_000))
    if not tokens:
        return data
    one, other = rng.choice(tokens), rng.choice(tokens)
    new = rng.choice([rng.choice(NASTY), other[0], one[0] * 2, b"", b"%d" % rng.randint(-3, 300)])
    return data[: one.start()] + new + data[one.end() :]


def change_lines(data: bytes, rng: Random) -> bytes:
    """Shuffle, drop or repeat lines."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 3:
        return data
    start = rng.randrange(len(lines))
    part = lines[start : start + rng.randint(1, 5)]
    if rng.random() < 0.5:
        rng.shuffle(part)
        return b"".join([*lines[:start], *part, *lines[start + len(part) :]])
    return b"".join([*lines[:start], *part * rng.randint(0, 3), *lines[start + len(part) :]])


BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip_bits,
    truncate,
    splice,
    change_tokens,
    change_tokens,
    change_lines,
)


def change_zip(file: Path, rng: Random) -> None:
    """Change entries of a zip and write it again, so that its sums and sizes are right."""
    with zipfile.ZipFile(file) as old:
        entries = [(entry.filename, old.read(entry)) for entry in old.infolist()]
    with zipfile.ZipFile(
        file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    ) as new:
        for name, data in entries:
            changed, chance = data, rng.random()
            if chance < 0.4:
                changed = rng.choice(BYTES)(data, rng)
            elif chance < 0.7:  # the header alone
                changed = change_tokens(data[:128], rng) + data[128:]
            elif chance < 0.75:
                changed = rng.choice(entries)[1]
            if rng.random() < 0.95:
                new.writestr(name if rng.random() < 0.95 else rng.choice(entries)[0] + "x", changed)


def change_table(file: Path, rng: Random) -> None:
    """Change a column of a Parquet file and write it again, so that it is whole."""
    table = pq.read_table(file)
    index = rng.randrange(table.num_columns)
    values = table.column(index).to_pylist()
    for _ in range(rng.randint(0, 3)):
        row = rng.randrange(len(values))
        value = values[row]
        if isinstance(value, list) and value and rng.random() < 0.7:
            value[rng.randrange(len(value))] = rng.choice(SCALARS)
        else:
            values[row] = rng.choice([*values, None, *([[], [1]] if isinstance(value, list) else SCALARS)])
    kinds = [table.schema.field(index).type] * 4 + [
        *(pa.int8(), pa.int64(), pa.float64(), pa.string(), pa.list_(pa.int16()), pa.list_(pa.float64(), 2)),
    ]
    with contextlib.suppress(pa.ArrowException, OverflowError, TypeError):  # values that no such column holds
        table = table.set_column(index, table.column_names[index], pa.array(values, rng.choice(kinds)))
    if rng.random() < 0.2:
        table = rng.choice([table.drop_columns(table.column_names[index]), table.slice(1), table.slice(0, 0)])
    pq.write_table(table, file)


def change(folder: Path, rng: Random, examples: list[Path]) -> None:
    """Change one file of the example in one way."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files:
        return
    file, chance = rng.choice(files), rng.random()
    if chance < 0.01:
        file.unlink()
    elif chance < 0.02:
        file.with_name(rng.choice(OTHER_NAMES)).write_bytes(rng.choice(files).read_bytes())
    elif chance < 0.04:
        shutil.copy(rng.choice(examples), file)
    elif chance < 0.5 and zipfile.is_zipfile(file):
        with contextlib.suppress(Exception):  # an earlier change broke it
            change_zip(file, rng)
    elif chance < 0.7 and file.suffix == ".parquet":
        with contextlib.suppress(Exception):  # likewise
            change_table(file, rng)
    else:
        file.write_bytes(rng.choice(BYTES)(file.read_bytes(), rng))


def run(path: Path, name: str | None, options: ImportOptions, out: Path) -> str:
    """Import, write and read back; return what came of it. Raises: whatever is a crash."""
    try:
        trace = import_trace(path, name, options)
    except InputError as error:
        if "\n" in str(error) or not str(error):
            raise AssertionError(f"not one line: {str(error)!r}") from error
        return "refused"
    write_trace(trace, out)
    read_trace(out)
    return "trace"


def case(number: int, seed: int, pristine: Path, work: Path) -> tuple[str, str]:
    """Make and run a case; return the format and what came of it."""
    rng = Random(f"{seed}:{number}")
    example = rng.choice(list(FILES))
    shutil.rmtree(work, ignore_errors=True)
    source = pristine / example.replace(":", "-")
    shutil.copytree(source, work)
    built, options = BUILT[example]
    path = work / built.relative_to(source)
    examples = sorted(file for file in pristine.rglob("*") if file.is_file())
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change(work, rng, examples)
    name = example.partition(":")[0] if rng.random() < 0.95 else None
    return example, run(path, name, options, work.with_name("out.parquet"))


BUILT: dict[str, tuple[Path, ImportOptions]] = {}


def main() -> int:
    """Run cases until the time is up; return the number of crashes, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one only")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-crashes"), help="folder for what crashed")
    given = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError(f"longer than {SECONDS} s")))
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        pristine, work = Path(temporary) / "examples", Path(temporary) / "case"
        for example, make in FILES.items():
            folder = pristine / example.replace(":", "-")
            folder.mkdir(parents=True)
            BUILT[example] = make(folder)
        number, end = given.case or 0, time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            signal.alarm(SECONDS)
            try:
                counts[case(number, given.seed, pristine, work)] += 1
            except Exception:  # noqa: BLE001  whatever it is, it is what we look for
                example = Random(f"{given.seed}:{number}").choice(list(FILES))
                counts[example, "CRASH"] += 1
                kept = given.keep / f"{example.replace(':', '-')}-{given.seed}-{number}"
                shutil.copytree(work, kept, dirs_exist_ok=True)
                sys.stdout.write(f"crash: seed {given.seed} case {number} ({example}), kept in {kept}\n")
                sys.stdout.write(traceback.format_exc() + "\n")
            finally:
                signal.alarm(0)
            number += 1
            if given.case is not None:
                break
    for example in FILES:
        shown = ", ".join(f"{n} {what}" for (name, what), n in sorted(counts.items()) if name == example)
        sys.stdout.write(f"{example}: {shown}\n")
    crashes = sum(n for (_, what), n in counts.items() if what == "CRASH")
    sys.stdout.write(f"{counts.total()} cases, {crashes} crashes\n")
    return min(crashes, 1)


if __name__ == "__main__":
    sys.exit(main())
