"""Answers as AnnData: regions by what was answered or found there."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

import napari_pathreason
from napari_pathreason.errors import ExportError
from napari_pathreason.exports import AnswerRow, to_anndata, write_anndata
from napari_pathreason.types import Answer, Query, Reliability

MADE = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def results(make_result):
    boxes = make_result(("tumour", 0, 0, 10, 10), ("tumour", 20, 0, 10, 10))
    boxes = replace(boxes, query=Query("detection", "", ("tumour", "necrosis")))
    reliable = Reliability("reliable")
    yes = replace(
        make_result(),
        query=Query("vqa", "Is it?", ("yes", "no")),
        answer=Answer("", "yes"),
        detections=(),
        reliability=reliable,
        confidence=0.75,
    )
    guess = replace(yes, reliability=Reliability("none", ("not trained on: it",)))
    return [replace(boxes, reliability=reliable), yes, guess]


def test_without_the_package_the_remedy_is_named(results, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ExportError, match=r"napari-pathreason\[anndata\]"):
        write_anndata(tmp_path / "a.h5ad", results)
    assert list(tmp_path.iterdir()) == []


def test_no_answers_are_no_table():
    with pytest.raises(ExportError, match="no answers"):
        to_anndata([])


def test_values_are_what_was_answered_and_a_guess_is_none(results):
    pytest.importorskip("anndata")
    table = napari_pathreason.to_anndata(results)
    assert table.var_names.tolist() == ["tumour", "necrosis", "yes", "no"]
    nan = np.nan
    expected = [[2, 0, nan, nan], [nan, nan, 1, 0], [nan] * 4]
    assert np.array_equal(table.X, np.array(expected, np.float32), equal_nan=True)
    assert table.obs["answer"].tolist()[2] == "No reliable answer (guess: yes)"
    assert table.obs["reliability"].tolist() == ["reliable", "reliable", "none"]
    region = results[0].region
    assert table.obsm["spatial"][0].tolist() == [
        region.x + region.width / 2,
        region.y + region.height / 2,
    ]
    assert table.uns["pathreason"]["use"] == "For research use only"


def test_a_file_holds_what_the_table_of_answers_says(results, tmp_path):
    anndata = pytest.importorskip("anndata")
    rows = [
        AnswerRow(
            7, MADE, "left", results[0], "accepted", "P1", 0.5, {"A": "accepted", "B": "rejected"}
        ),
        AnswerRow(8, MADE, "right", results[1]),
    ]
    path = tmp_path / "answers.h5ad"
    assert write_anndata(path, rows) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["answers.h5ad"]
    table = anndata.read_h5ad(path)
    assert table.shape == (2, 4)
    first, second = (table.obs.iloc[i] for i in range(2))
    assert (first["answer_number"], first["case"], first["region"]) == (7, "P1", "left")
    assert first["reviews"] == "A: accepted | B: rejected"
    assert first["tissue_mm2"] == pytest.approx(rows[0].tissue_mm2)
    assert first["findings"] == 2
    assert np.isnan(second["findings"])
    assert np.isnan(second["tissue_mm2"])
    assert second["confidence"] == 0.75
    assert table.obs["slide"].tolist() == [results[0].slide.name] * 2


def test_a_file_that_cannot_be_written_is_one_line(results, tmp_path):
    pytest.importorskip("anndata")
    with pytest.raises(ExportError) as error:
        write_anndata(tmp_path / "no" / "answers.h5ad", results)
    assert "\n" not in str(error.value)
