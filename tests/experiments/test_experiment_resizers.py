"""resizers: what is measured on a resize known on paper, what follows from parts made by hand, and the page's table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindspace.experiments.common.resize_libraries import LIBRARIES
from blindspace.experiments.parts import Kept
from blindspace.experiments.resizers.measure import GIVEN, compared, left_out, properties, sizes
from blindspace.experiments.resizers.report import claims, rows, table
from blindspace.experiments.resizers.settings import for_preset
from blindspace.maps.resizing.registry import resizer

S = replace(for_preset("smoke", 0), libraries=("pil",))
ROOT = Path(__file__).parents[2]


def test_properties_of_a_mean_of_four() -> None:
    found = properties(resizer("pil box"), (8, 12), (4, 6))
    assert (found["rank"], found["outputs"], found["inputs"], found["taps"]) == (24, 24, 96, 4)
    assert found["sums"] == pytest.approx([1, 1])
    assert found["condition"] == pytest.approx(1)
    assert found["negative"] == pytest.approx(1)


def test_a_wrong_map_is_seen() -> None:
    library, each = LIBRARIES["pil"], resizer("pil bicubic")
    right = compared(S, each, library.real, library.eight_bit)
    assert right["real"] <= 1e-6
    assert right["grey"] <= each.bound < right["all"]
    assert right["sizes"] == len(S.sizes) + len(GIVEN) + S.count
    wrong = replace(each, build=resizer("pil bilinear").build)
    assert compared(S, wrong, library.real, library.eight_bit)["real"] > 0.1


def test_sizes_at_which_libraries_fail_are_left_out() -> None:
    assert left_out(resizer("torch bilinear"), (8, 8), (4, 1))
    assert not left_out(resizer("pil bilinear"), (8, 8), (4, 1))
    assert left_out(resizer("onnx nearest half-pixel round-prefer-floor"), (14, 4), (19, 5))
    assert not left_out(resizer("onnx nearest half-pixel floor"), (14, 4), (19, 5))
    assert all(after[1] > 1 for _, after in sizes(S, resizer("torch bicubic")))


def made(**changed: Any) -> dict[str, Kept]:
    figures = {"real": 1e-8, "grey": 0.9, "all": 20.0, "sizes": 9, **changed}
    at = {"sums": [0.99, 1.0], "rank": 6, "outputs": 6, "condition": 2.0, "taps": 4, "negative": 1.0, "inputs": 24}
    found = {"pil bicubic": {**figures, "maps": [at]}}
    return {"pil": Kept({"version": "12.0", "digits": 1e-6, "resizers": found})}


def test_claims_follow_from_the_figures() -> None:
    assert [claim.holds for claim in claims(S, made())] == [True, True]
    assert [claim.holds for claim in claims(S, made(real=1e-5, grey=3.0))] == [False, False]
    gone = {"pil": Kept({"version": None, "digits": 1e-6, "resizers": {}})}
    assert [claim.holds for claim in claims(S, gone)] == [None, None]
    assert "not installed here: pil" in claims(S, gone)[0].text


def test_a_line_of_the_table() -> None:
    lines = table([row.to_dict() for row in rows(S, made())], "32×32 → 8×8")
    assert lines[2] == "| pil bicubic | 12.0 | 1.0e-08 | 0.900 | 20.00 | 6 | 2 | 4 | 1.0e-02 |"


def test_the_page_has_the_table_of_the_results() -> None:
    result = json.loads((ROOT / "results" / "resizers" / "result.json").read_text("utf-8"))
    page = (ROOT / "docs" / "resizers.md").read_text("utf-8")
    assert "\n".join(table(result["rows"], "480×640 → 224×224")) in page
