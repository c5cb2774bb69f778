import pytest

from napari_pathreason.models.server import family_named


@pytest.mark.parametrize(
    ("model", "family", "boxes"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL", "relative"),
        ("qwen3-vl:8b", "Qwen3-VL", "relative"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen3-VL", "relative"),
        ("Qwen/Qwen3.5-9B", "Qwen3.5", "relative"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL", "resized"),
        ("qwen2.5vl:7b", "Qwen2.5-VL", "resized"),
        ("WenchuanZhang/Patho-R1-7B", "Qwen2.5-VL", "resized"),
        ("lingshu-medical-mllm/Lingshu-7B", "Qwen2.5-VL", "resized"),
        ("lingshu-medical-mllm/Lingshu-I-8B", "InternVL", "relative"),
        ("Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL", "relative"),
        ("google/gemma-4-12b-it", "Gemma 4", "relative_yx"),
        ("gemma4:e4b", "Gemma 4", "relative_yx"),
        ("google/gemma-3-4b-it", "Gemma 3", None),
        ("google/medgemma-1.5-4b-it", "Gemma 3", None),
        ("/srv/models/medgemma-4b.gguf", "Gemma 3", None),
        ("OpenGVLab/InternVL3_5-8B", "InternVL", "relative"),
        ("Qwen/Qwen3-8B", "unknown", None),
        ("llava", "unknown", None),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "SmolVLM", None),
        ("llama3.2-vision:11b", "Llama 3.2 Vision", None),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "Llama 3.2 Vision", None),
        ("/home/me/pathreason/qwen3-vl/llava.gguf", "unknown", None),
        ("/srv/pathreason/models/embedded", "Qwen3-VL", "relative"),
    ],
)
def test_a_name_tells_the_family(model, family, boxes):
    found = family_named(model)
    assert (found.name, found.boxes) == (family, boxes)
