import base64
from html.parser import HTMLParser

import pytest

from napari_pathreason.exports import write_report
from napari_pathreason.types import Answer, Query

JPEG = b"\xff\xd8\xffnot drawn"


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_what_a_reader_needs_is_there(make_result, tmp_path, run):
    path = tmp_path / "a.html"
    results = [
        make_result(("tumour", 150, 250, 40, 20), ("stroma", 1, 2, 3, 4)),
        make_result(mpp=None, warnings=("the slide does not state its resolution",)),
    ]
    write_report(path, results, lambda result: JPEG, run, "2026-01-01")
    told = read(path)
    text = " ".join(" ".join(told.text).split())
    for part in (
        "a.svs",
        "research use only",
        "Where is it?",
        "2 found",
        "one dark spot",
        "60 + 2 of 1,024 visual tokens",
        "124 spent, 2,048 at native size",
        "the slide does not state its resolution",
        "finder (qwen3_vl)",
        run,
    ):
        assert part in text, part
    assert told.tags.count("section") == 2
    assert told.tags.count("tr") == 3
    assert told.links == [f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"] * 2


@pytest.mark.parametrize("bad", ["<script>alert(1)</script>", '"><img src=http://x>', "{{ run }}"])
def test_what_a_model_writes_stays_text(make_result, tmp_path, run, bad):
    path = tmp_path / "a.html"
    result = make_result(
        (bad, 1, 2, 3, 4),
        answer=Answer(bad, bad),
        query=Query("detection", bad, (bad,)),
        warnings=(bad,),
    )
    write_report(path, [result], lambda result: JPEG, run)
    told = read(path)
    assert "script" not in told.tags
    assert told.tags.count("img") == 1
    assert " ".join(told.text).count(bad) == 6
    assert not any(link.startswith("http") for link in told.links)


def test_confidence_is_shown_where_there_is_one(make_result, tmp_path, run, monkeypatch):
    path = tmp_path / "a.html"
    result = make_result(("x", 1, 2, 3, 4))
    for module in ("_report", "_marks"):
        monkeypatch.setattr(f"napari_pathreason.exports.{module}.confidence_of", lambda value: 0.75)
    write_report(path, [result], lambda result: JPEG, run)
    assert "75%" in path.read_text()
    assert "0.75" in path.read_text()
