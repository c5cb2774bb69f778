"""Tables of Markdown hold whatever a lab calls its classes."""

from hypothesis import given, strategies as st

from napari_pathreason.training.tables import plain_markdown, table

CELLS = st.lists(st.text(max_size=8), min_size=2, max_size=2)


@given(CELLS, st.lists(CELLS, max_size=3))
def test_each_row_has_as_many_columns_as_the_head(head, lines):
    rows = table(head, lines).split("\n")
    assert len(rows) == len(lines) + 2
    for row in rows:
        assert row.replace(r"\|", "").count("|") == 3


def test_names_stay_what_they_are():
    assert plain_markdown("**all**") == "**all**"
    assert plain_markdown("正常 (G1)") == "正常 (G1)"
    assert plain_markdown("<b>a|b\nc") == r"&lt;b>a\|b c"
