from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import results
from bench.figures import OURS, Figure
from bench.results import BEGIN, END, Run


def run(command: str = "./dev bench", bench: str = "decode") -> Run:
    return results.run(
        bench, command, 1.5, {"mariadb": "10.11"}, [Figure("a", "rows", "rows/s", samples={OURS: [7.0]})]
    )


def test_samples_are_kept_with_their_circumstances(tmp_path: Path) -> None:
    """The JSON holds every sample, machine, date, command, commit and versions; a chart lies beside it."""
    file = results.keep(tmp_path, run())
    raw = msgspec.json.decode(file.read_bytes())
    assert raw["figures"][0]["samples"] == {OURS: [7.0]}
    assert raw["command"] == "./dev bench"
    assert raw["commit"]
    assert raw["date"].endswith("UTC")
    assert raw["machine"]["cores"]
    assert raw["machine"]["versions"]["mariadb"] == "10.11"
    assert (tmp_path / "decode.svg").read_text().startswith("<svg")
    assert results.kept(tmp_path, ["decode", "fanout"]) == [run()]


def test_the_document_gets_the_table_between_its_marks(tmp_path: Path) -> None:
    """What stands around the marks stays, what stood between them is replaced, and writing twice changes nothing."""
    once = results.document(f"# Speed\n{BEGIN}\nold\n{END}\nmore\n", [run(), run("./dev bench fanout", "fanout")])
    assert once.startswith(f"# Speed\n{BEGIN}\n")
    assert once.endswith(f"{END}\nmore\n")
    assert "old" not in once
    assert once.count("| rows, rows/s | **7** |") == 2
    assert once.count("### decode\n") == once.count("### fanout\n") == 1
    assert "`./dev bench fanout`, 20" in once
    assert results.document(once, [run(), run("./dev bench fanout", "fanout")]) == once


def test_a_document_without_marks_is_left_alone() -> None:
    """Rather an error than a table at the wrong place."""
    with pytest.raises(ValueError, match="marks"):
        results.document("# Speed\n", [run()])


def test_the_document_has_its_marks() -> None:
    """``./dev bench --write`` finds its place in docs/performance.md."""
    assert results.document(results.DOCUMENT.read_text(), [run()]).count("| rows, rows/s |") == 1
