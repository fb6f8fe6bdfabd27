"""What the site shows of the code is in it."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pictures():
    sys.path.insert(0, str(ROOT / "docs" / "_site"))
    try:
        import pictures

        yield pictures
    finally:
        sys.path.remove(str(ROOT / "docs" / "_site"))
        sys.modules.pop("pictures", None)


def test_the_picture_of_the_house_is_true(pictures):
    """Every room is in it, and no line leads upward."""
    picture = pictures.architecture(ROOT)
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "nigt_jax").iterdir() if not path.name.startswith("_")}
    rooms -= {"py.typed"}
    assert all(f">{room}</text>" in picture for room in rooms)
    assert picture.count("<rect") == len(rooms)
    moves = [path.split('"')[1] for path in picture.splitlines() if path.startswith("<path")]
    heights = [(float(move.split(",")[1].split(" ")[0]), float(move.rsplit(",", 1)[1])) for move in moves]
    assert len(heights) > 20
    assert all(start < end for start, end in heights)


def test_what_is_left_out_follows_from_the_rest(pictures):
    knows = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert pictures._direct("a", knows) == {"b"}
    assert pictures._direct("b", knows) == {"c"}


def test_pages_name_what_there_is():
    """Links and anchors are checked by mkdocs; files of the repository that pages name are checked here."""
    import re

    for page in (ROOT / "docs").glob("*.md"):
        for path in re.findall(r"`((?:tests|configs|bench|docs)/[\w./-]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_snippets_are_snippets():
    """Once a formatter had put spaces into them, and the site showed them instead of the code that they name."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    lines = [line for page in pages for line in page.splitlines() if line.startswith("--8")]
    assert len(lines) >= 11
    assert all(line.startswith('--8<-- "') for line in lines)
    for line in lines:
        path, *some = line.split('"')[1].split(":")
        shown = (ROOT / path).read_text(encoding="utf-8").splitlines()
        if some:
            first, last = map(int, some)
            assert shown[last - 1].strip()
            assert not shown[last].strip()  # nothing is cut off
            exec("\n".join(shown[first - 1 : last]), {"__name__": "shown"})
