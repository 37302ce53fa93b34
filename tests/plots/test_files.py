"""Figures are drawn from results alone, the same bytes each time, with the data that they show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.plots import FIGURES, draw, listing
from simulator.plots.style import STYLES, styled
from tests.plots.speeds import CASES, OWN, plotted, results, summary


def test_every_figure_is_written_with_its_data(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", summary(systems=("lru", "lfu")))
    written = draw(OWN, folder)
    assert [path.name for path in written] == [
        f"{name}.{form}" for name in OWN for form in ("pdf", "png", "csv")
    ]
    assert sorted(written) == sorted((folder / "figures").iterdir())  # and nothing half-written
    assert (folder / "figures" / "tokens-per-second.pdf").read_bytes().startswith(b"%PDF")


def test_results_without_decoded_tokens_leave_out_what_is_of_decoding(tmp_path: Path) -> None:
    frame = summary(systems=("lru", "lfu")).assign(miss_penalty=np.nan)
    frame[["tokens_per_second", "dense_ms_per_token"]] = np.nan
    said: dict[str, str] = {}
    names = ("tokens-per-second", "hit-rate", "latency-breakdown", "miss-penalty", "ablation")
    draw(names, results(tmp_path, frame), left_out=lambda name, error: said.update({name: error.what}))
    assert said == dict.fromkeys([name for name in names if name != "hit-rate"], "no run has decoded tokens")


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (results(tmp_path / name, summary(**CASES["systems by size"])) for name in "ab")
    forms = ("pdf", "png", "svg")
    for a, b in zip(draw(OWN, first, forms), draw(OWN, second, forms), strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_the_readers_own_settings_change_nothing_and_are_kept(tmp_path: Path) -> None:
    import matplotlib as mpl

    path, *_ = draw(["hit-rate"], results(tmp_path, summary()), ("png",))
    plain = path.read_bytes()
    with mpl.rc_context({"font.size": 20, "savefig.bbox": "tight"}):
        draw(["hit-rate"], tmp_path, ("png",))
        assert mpl.rcParams["font.size"] == 20
    assert path.read_bytes() == plain


def test_fonts_are_embedded_as_truetype_and_no_time_is_kept(tmp_path: Path) -> None:
    draw(["hit-rate"], results(tmp_path, summary()))
    content = (tmp_path / "figures" / "hit-rate.pdf").read_bytes()
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert b"Software" not in (tmp_path / "figures" / "hit-rate.png").read_bytes()


def test_an_unknown_figure_or_format_is_refused_and_nothing_is_drawn(tmp_path: Path) -> None:
    folder = results(tmp_path, summary())
    with pytest.raises(InputError, match="did you mean 'hit-rate'"):
        draw(["tokens-per-second", "hitrate"], folder)
    with pytest.raises(InputError, match="unknown format"):
        draw(["hit-rate"], folder, ("gif",))
    assert not (tmp_path / "figures").exists()


HEADER = b"system,model,hardware,trace"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no summary.csv"),
        (b"", "is empty"),
        (b"a,b\n1,2\n", "column 'system' is missing"),
        (HEADER + b"\n", "holds no runs"),
        (b"\xff\xfe\x00", "no CSV table|missing"),
        (HEADER + b"\na,b,c,d\n", "column 'hit_rate' is missing"),
        (
            HEADER + b",tokens_per_second,hit_rate\na,b,c,d,1,high\n",
            "column 'hit_rate' holds more than numbers",
        ),
    ],
)
def test_results_that_are_none_are_refused_in_one_line(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    if content is not None:
        (tmp_path / "summary.csv").write_bytes(content)
    with pytest.raises(InputError, match=what) as error:
        draw(["hit-rate"], tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "figures").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    folder = results(tmp_path, summary())
    (folder / "figures").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        draw(["hit-rate"], folder)


def test_listing_says_what_each_figure_shows_without_loading_matplotlib() -> None:
    assert [name for name, _ in listing()] == list(FIGURES)
    assert all(line for _, line in listing())
    code = "import sys, simulator.plots; sys.exit(bool({'matplotlib', 'pandas'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_figure_that_the_results_lack_data_for_is_left_out_or_refused(tmp_path: Path) -> None:
    folder = results(tmp_path, summary(systems=("lru", "lfu")))
    (folder / "tokens.parquet").unlink()
    said: list[tuple[str, str]] = []
    written = draw(OWN, folder, ("svg",), left_out=lambda name, error: said.append((name, error.what)))
    assert [path.name for path in written if path.suffix == ".svg"] == [f"{name}.svg" for name in OWN[:3]]
    assert said == [(name, "holds no tokens.parquet") for name in OWN[3:]]
    with pytest.raises(InputError, match=r"holds no tokens.parquet"):
        draw(["hit-rate", "latency-cdf"], folder)


def test_other_styles_stand_beside_that_of_papers(tmp_path: Path) -> None:
    folder = results(tmp_path / "r", summary(systems=("lru", "lfu")))
    out = tmp_path / "elsewhere" / "figures"
    for style in STYLES:
        draw(["hit-rate"], folder, ("png",), style, out=out)
    names = ["hit-rate.png", "hit-rate-talk.png", "hit-rate-notebook.png", "hit-rate.csv"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert not (folder / "figures").exists()


def test_letters_of_a_talk_are_large_enough() -> None:
    with styled("talk"):
        figure, _ = plotted("speed-up", summary(systems=("lru", "lfu")))
        texts = [text for text in figure.findobj(lambda one: hasattr(one, "get_fontsize")) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 16


@pytest.mark.parametrize(
    ("style", "width", "what"),
    [
        ("tlak", None, "unknown style.*did you mean 'talk'"),
        ("paper", "acmm", "unknown width.*did you mean 'acm'"),
        ("talk", "ieee", "is a paper's"),
    ],
)
def test_an_unknown_style_or_width_is_refused(
    tmp_path: Path, style: str, width: str | None, what: str
) -> None:
    with pytest.raises(InputError, match=what):
        draw(["hit-rate"], results(tmp_path, summary()), ("png",), style, width)
    assert not (tmp_path / "figures").exists()


def test_names_are_letters_and_no_formulas_and_stay_text_in_svg(tmp_path: Path) -> None:
    folder = results(tmp_path, summary(systems=("a $x^{ b$ name", "100 % <of> it & more")))
    draw(OWN, folder, ("svg", "pdf"))
    text = (folder / "figures" / "speed-up.svg").read_text()
    assert "a $x^{ b$ name" in text
    assert "100 % &lt;of&gt; it" in text
