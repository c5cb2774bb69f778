"""Recipes that are damaged, hostile or out of range: one line that names the file."""

import time
from pathlib import Path

import pytest

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training import load_recipe

BASE = "output: runs/base\ndata: {folder: data}\nmodel: {start: embedded}\n"
LAUGHS = "a: &a [1, 1]\n" + "".join(
    f"{after}: &{after} [*{before}, *{before}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def refusal(path: Path, changes: tuple[str, ...] = ()) -> str:
    start = time.monotonic()
    with pytest.raises(QueryError) as caught:
        load_recipe(path, changes)
    assert time.monotonic() - start < 5
    line = str(caught.value)
    assert "\n" not in line
    assert "\x1b" not in line
    assert str(path.parent) not in line
    return line


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed: 0\noutput: r\xe9\ndata: {folder: x}\n".encode("latin-1"), "is not UTF-8 (byte 18)"),
        (BASE.encode("utf-16"), "is not UTF-8 (byte 1)"),
        (b"output: x\x00y\n", "is not YAML"),
        (b"- 1\n", "is no recipe"),
        (b"1: 2\n", "its keys must be names"),
        (b"output: " + b"[" * 50_000, "nested too deeply"),
        (b"sft: " + b"{a: " * 10_000, "nested too deeply"),
        (b"# " + b"x" * 2**20, "longer than any recipe"),
        (LAUGHS.encode(), "has aliases (*a)"),
        (b"output: &a [*a]\n", "has aliases"),
        (b"seed: 2024-13-45\n", "cannot be read"),
        (BASE.encode() + b"sft: {budgets: {4: 1, 4.0: 2}}\n", "says 4.0 twice"),
        (BASE.encode() + b"sft: {budgets: {16: 1, 0x10: 2}}\n", "says 0x10 twice"),
        (BASE.encode() + b"seed: 010\n", "says 010, which YAML takes for a number of base 8"),
        (BASE.encode() + b"seed: -0_17\n", "a number of base 8"),
        (b"seed: " + b"0" * 60_000 + b"1\n", "a number of base 8"),
        (b'output: "a\\ud800"\ndata: {folder: x}\n', "half a character"),
        (b'"a\\ud800": 3\n', "half a character"),
        (b'output: ""\ndata: {folder: x}\n', "output: "),
        (b'output: x\ndata: {folder: ""}\n', "data.folder: "),
        (b"extends: " + b"a" * 4000 + b"\n", "is not there"),
        (
            BASE.encode() + b"sft: {step: 5}\n",
            "sft.step: there is no such key; did you mean steps?",
        ),
        (BASE.encode() + b"grop: {}\n", "grop: there is no such key; did you mean grpo?"),
        (BASE.encode() + b"grpo: {optimiser: x}\n", "there is no such key; leave it out"),
        (b"seed: " + b"9" * 5000 + b"\n", "cannot be read"),
        (b"!!python/object/apply:os.system [true]\n", "is not YAML"),
        (b'"\\e[2Jsft": 1\n', "r.yaml: "),
        (BASE.encode() + b"seed: 1\nseed: 2\n", "says seed twice"),
        (BASE.encode() + b"sft: {steps: 5, lr: 1e-4, steps: 50}\n", "says steps twice"),
        (b'output: "runs/\\0"\ndata: {folder: x}\n', "a zero byte"),
    ],
)
def test_what_is_no_recipe_is_one_line(tmp_path: Path, content: bytes, says: str):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert says in refusal(path)


def test_a_mark_of_utf_8_is_no_fault(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load_recipe(path).output == "runs/base"


def test_the_shell_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "r.yaml"
    path.write_bytes("output: r\xe9\n".encode("latin-1"))
    assert main(["train", "sft", "--recipe", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "r.yaml is not UTF-8" in line


@pytest.mark.parametrize(
    "change",
    [
        "sft.lr=.nan",
        "sft.lr=.inf",
        "sft.lr=-1",
        "sft.lr=1e300",
        "sft.warmup=-1",
        "sft.weight_decay=-0.1",
        "sft.max_grad_norm=0",
        "sft.vision_encoder_lr=.nan",
        "sft.steps=10000000000000",
        "sft.budgets={0: 1}",
        "sft.budgets={-4: 1}",
        "sft.budgets={4: -1}",
        "sft.budgets={4: 0, 16: 0}",
        "sft.budgets={4: .inf}",
        "sft.budgets={}",
        "data.weights={lung: -1}",
        "data.weights={lung: .nan}",
        "data.stain=.inf",
        "data.stain=-1",
        "data.levels=1.5",
        "grpo.beta=.nan",
        "grpo.temperature=.inf",
        "grpo.reward_weights=[.nan]",
        "allocator.lambdas={low: .inf, balanced: 0, high: 0}",
        "allocator.windows.temperature=.nan",
        "metadata.mpp=[.nan, 1]",
        "lora.alpha=0",
        "lora={dropout: 1}",
        "lab.margin=.inf",
        "seed=-1",
        "seed=5000000000",
        "seed=.nan",
    ],
)
def test_a_number_out_of_range_is_named(tmp_path: Path, change: str):
    path = tmp_path / "r.yaml"
    path.write_text(BASE)
    assert change.partition("=")[0] in refusal(path, (change,))


def test_sources_that_are_left_out_by_their_weight(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text(BASE)
    assert load_recipe(path, ["data.weights={lung: 0, blood: 1}"]).data.weights["lung"] == 0


@pytest.mark.parametrize("word", ["true", "no", "on"])
@pytest.mark.parametrize(
    "key",
    [
        "seed",
        "format_version",
        "sft.steps",
        "sft.lr",
        "sft.warmup",
        "lora.dropout",
        "grpo.num_generations",
        "grpo.floor",
        "grpo.reward_weights",
        "metadata.mpp",
        "data.weights",
        "sft.budgets",
    ],
)
def test_a_switch_is_no_number(tmp_path: Path, key: str, word: str):
    (tmp_path / "r.yaml").write_text(BASE)
    value = {
        "grpo.reward_weights": f"[{word}]",
        "metadata.mpp": f"[{word}, 1.0]",
        "data.weights": f"{{a: {word}}}",
        "sft.budgets": f"{{{word}: 1}}",
    }.get(key, word)
    line = refusal(tmp_path / "r.yaml", (f"{key}={value}",))
    assert f"{key}" in line
    assert "give a number, not true or false" in line


def test_what_is_no_slip_is_read(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(
        BASE
        + "seed: 0\nsft: {<<: {steps: 3}, warmup: 00, lr: 1e-4, batch: 0x10, budgets: {08: 1}}\n"
    )
    sft = load_recipe(tmp_path / "r.yaml").sft
    assert (sft.steps, sft.warmup, sft.lr, sft.batch) == (3, 0, 1e-4, 16)
    assert sft.budgets == {8: 1}
