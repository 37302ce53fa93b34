"""The gallery: every figure, made by committed experiments, looks as its picture in docs/gallery does.

``make gallery`` makes the pictures anew; then look at them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images

from simulator.plots import FIGURES, draw
from simulator.runs.backends import Backend
from simulator.runs.experiment import HowToRun, run_experiment
from tests.places import ROOT

GALLERY = ROOT / "docs" / "gallery"
MADE_BY = {
    "ablation": "gallery-parts",
    "algorithm-and-code": "gallery-code",
    "sensitivity": "gallery-sensitivity",
}
TOLERANCE = 6.0
"""Root mean square of the difference, of 255: releases of matplotlib and FreeType move edges of letters."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every figure as PNG."""
    folder = tmp_path_factory.mktemp("gallery")
    for experiment in ("gallery", "gallery-parts", "gallery-code", "gallery-sensitivity"):
        out = folder / experiment
        run_experiment(experiment, ["figures=[]"], out, HowToRun(backend=Backend(jobs=2)))
        draw([name for name in FIGURES if MADE_BY.get(name, "gallery") == experiment], out, ("png",))
    return folder


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_in_the_gallery(drawn: Path, name: str) -> None:
    made = drawn / MADE_BY.get(name, "gallery") / "figures" / f"{name}.png"
    assert compare_images(str(GALLERY / f"{name}.png"), str(made), TOLERANCE) is None


def test_the_page_has_every_figure_and_no_other() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(gallery/(\S+)\.png\)", page)) == sorted(FIGURES)
    assert sorted(path.stem for path in GALLERY.iterdir()) == sorted(FIGURES)


def test_a_changed_figure_is_noticed(drawn: Path, tmp_path: Path) -> None:
    """The comparison can fail: one figure is not another, nor itself with one bar less."""
    from PIL import Image

    source = drawn / "gallery" / "figures" / "tokens-per-second.png"
    with Image.open(source) as image:
        image.paste("white", (image.width // 3, image.height // 3, image.width // 2, image.height))
        image.save(tmp_path / "changed.png")
    assert compare_images(str(source), str(tmp_path / "changed.png"), TOLERANCE) is not None
