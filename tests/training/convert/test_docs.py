"""The worked example of docs/data.md gives what the page says."""

import re
import shutil
from pathlib import Path

from napari_pathreason.cli import main
from napari_pathreason.training.convert import KINDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/data.md").read_text(encoding="utf-8")


def test_the_example_from_annotations_to_samples(tmp_path, monkeypatch, capsys):
    exported, command, lines = re.findall(r"```(?:json|text|jsonl)\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("skin").mkdir()
    slide = ROOT / "src/napari_pathreason/sample_data/CMU-1-Small-Region.svs"
    shutil.copy(slide, "skin")
    Path("skin/CMU-1-Small-Region.geojson").write_text(exported, encoding="utf-8")
    typed, _, told = command.partition("\n")
    assert main(typed.split()[1:]) == 0
    assert capsys.readouterr().out == told
    assert Path("data/skin/train.jsonl").read_text(encoding="utf-8") == lines


def test_every_layout_has_a_command():
    commands = re.findall(r"`(pathreason data convert [^`]+)`", PAGE)
    for kind in set(KINDS) - {"qupath", "messages", "table", "folders"}:
        name = {"patchcamelyon": "pcam", "lc25000": "lc"}.get(kind, kind)
        assert any(f"data/{name}" in command for command in commands), kind
