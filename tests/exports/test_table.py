import csv
import json

import pytest

from napari_pathreason.engine import result_to_dict
from napari_pathreason.errors import ExportError
from napari_pathreason.exports import marks_of, write_table, write_transcript


def read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_finding_in_pixels_and_micrometres(make_result, tmp_path, run):
    path = tmp_path / "a.csv"
    results = [
        make_result(("tumour", 150, 260.5, 40, 20), ("stroma", 1, 2, 3, 4)),
        make_result(),
        make_result(("tumour", 5, 6, 7, 8), mpp=None),
    ]
    assert write_table(path, marks_of(results, run)) == 4
    first, second, nothing, third = read_table(path)
    assert first["label"] == "tumour"
    assert [float(first[f"{n}_px"]) for n in ("x", "y", "width", "height")] == [150, 260.5, 40, 20]
    um = [float(first[f"{n}_um"]) for n in ("x", "y", "width", "height")]
    assert um == pytest.approx([75, 65.125, 20, 5])
    assert float(first["area_um2"]) == pytest.approx(100)
    assert first["visual_tokens"] == "62"
    assert first["run"] == run
    assert [row["result"] for row in (first, second, third)] == ["1", "1", "3"]
    assert (nothing["kind"], nothing["label"], nothing["answer"]) == ("region", "", "0 found")
    assert third["x_um"] == ""
    assert third["area_um2"] == ""


@pytest.mark.parametrize("label", ["=1+1", "@SUM(A1)", "+1", "-1", "a\nb", 'a,"b"', "µ腫瘍"])
def test_no_label_becomes_a_formula_or_a_second_row(make_result, tmp_path, run, label):
    path = tmp_path / "a.csv"
    write_table(path, marks_of([make_result((label, 1, 2, 3, 4))], run))
    (row,) = read_table(path)
    assert row["label"].lstrip("'") == " ".join(label.split())
    assert row["label"][0] not in "=+-@"


def test_a_line_for_each_result(make_result, tmp_path, run):
    path = tmp_path / "a.jsonl"
    results = [make_result(("x", 1, 2, 3, 4)), make_result()]
    assert write_transcript(path, results, run) == 2
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, (line, result) in enumerate(zip(lines, results, strict=True), 1):
        told = json.loads(line)
        assert told.pop("run") == run
        assert told.pop("result") == number
        assert told == json.loads(json.dumps(result_to_dict(result)))


def test_a_table_without_rows_is_refused_where_one_says_why(tmp_path):
    with pytest.raises(ExportError, match=r"a\.csv was not saved: nothing here"):
        write_table(tmp_path / "a.csv", [], "nothing here")
    assert not (tmp_path / "a.csv").exists()
    assert write_table(tmp_path / "a.csv", []) == 0
    assert (tmp_path / "a.csv").exists()
