"""Where the data folders are: inside an installed wheel, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal[
    "hardware_profiles",
    "hardware_parts",
    "software_profiles",
    "models",
    "traces",
    "experiments",
    "validation",
]

SUFFIX: dict[Kind, str] = {
    "hardware_profiles": ".yaml",
    "hardware_parts": ".yaml",
    "software_profiles": ".yaml",
    "models": ".yaml",
    "traces": ".parquet",
    "experiments": ".yaml",
    "validation": ".yaml",
}


def folder(kind: Kind) -> Path:
    """Return the folder that holds the data files of ``kind``.

    setup.cfg maps the folders at the repository's root into this package; an editable install or a
    plain checkout has them only there.
    """
    here = Path(__file__).resolve().parent
    shipped = here / kind
    return shipped if shipped.is_dir() else here.parent.parent / kind


def names(kind: Kind) -> tuple[str, ...]:
    """Return the names under which the files of ``kind`` can be asked for, sorted."""
    suffix = SUFFIX[kind]
    return tuple(sorted(path.name.removesuffix(suffix) for path in folder(kind).glob(f"*{suffix}")))
