"""Which model a session keeps loaded."""

from types import SimpleNamespace

from napari_pathreason.viewer import Compute, Session


def test_a_model_is_kept_until_its_folder_is_written_to(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"1")
    made, closed = [], []

    def load(model_id, compute):
        models = SimpleNamespace(close=lambda: closed.append(models))
        made.append(models)
        return models

    session = Session(load)
    first = session.models(str(folder), Compute())
    assert session.models(str(folder), Compute()) is first
    (folder / "calibration.json").write_text("{}")
    second = session.models(str(folder), Compute())
    assert made == [first, second]
    assert closed == [first]
    assert session.models(str(folder), Compute()) is second
    session.models("embedded", Compute())
    assert closed == [first, second]
