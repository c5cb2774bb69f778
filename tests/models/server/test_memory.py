"""What is remembered of servers, what is asked for once, and what is never written."""

import json
import sys
from types import SimpleNamespace

import pytest

from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.models import allow_host, find_checkpoint, read_model_info, set_boxes
from napari_pathreason.models.server import (
    allowed_hosts,
    check_allowed,
    is_allowed,
    keep_key,
    key_of,
    load_server,
    look_at_server,
    parse_address,
)
from tests.support.servers import ollama, serving, transformers_serve, vllm

LAB = "http://lab-server:8000/v1"


@pytest.fixture
def folders(own_folders):
    return own_folders


def files(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_host_is_allowed_once(folders):
    address = parse_address(LAB)
    with pytest.raises(ModelError) as refused:
        check_allowed(address)
    for words in ("--allow-host lab-server", "pixels", "words", "no file name, path or metadata"):
        assert words in str(refused.value)
    allow_host("Lab-Server")
    assert is_allowed(address)
    check_allowed(address)
    assert allowed_hosts() == {"lab-server"}
    assert not is_allowed(parse_address("http://other:8000/v1"))
    allow_host("other")
    assert allowed_hosts() == {"lab-server", "other"}


@pytest.mark.usefixtures("no_network")
def test_nothing_is_sent_to_a_host_that_is_not_allowed(folders):
    with pytest.raises(ModelError, match="--allow-host lab-server"):
        load_server(LAB)
    with pytest.raises(ModelError, match="--allow-host lab-server"):
        look_at_server(f"{LAB}#m")


def test_this_machine_needs_no_word(folders):
    for host in ("localhost", "127.0.0.1", "[::1]"):
        check_allowed(parse_address(f"http://{host}:8000/v1"))
    assert not files(folders[0])


@pytest.mark.parametrize("name", ["", "http://host", "host/v1", "a@b", "two words"])
def test_what_is_no_host_is_refused(folders, name):
    with pytest.raises(ModelError, match="takes the name of a host"):
        allow_host(name)
    assert not allowed_hosts()


def test_damaged_files_are_forgotten(folders):
    allow_host("lab-server")
    (file,) = files(folders[0])
    file.write_text('{"allowed": ')
    assert not allowed_hosts()
    file.write_text('{"allowed": [1, "x"]}')
    assert allowed_hosts() == {"x"}
    with serving() as server:
        load_server(server.address)
        for file in files(folders[1]):
            file.write_text("[")
        assert load_server(server.address).info.box_space == "relative"


def test_a_server_is_probed_once(folders):
    with serving() as server:
        first = load_server(server.address)
        asked = len(server.bodies)
        assert 3 < asked < 12
        again = load_server(server.address)
        assert len(server.bodies) == asked
        assert (again.capabilities, again.info) == (first.capabilities, first.info)
        look_at_server(server.address)
        assert len(server.bodies) == 2 * asked


def test_models_of_a_server_are_remembered_apart(folders):
    with serving(ollama()) as server:
        load_server(f"{server.url}#medgemma1.5:latest")
        asked = len(server.bodies)
        load_server(f"{server.url}#llama3:latest")
        assert len(server.bodies) > asked


def test_what_a_server_refuses_later_is_found_out_anew(folders):
    from threading import Event

    import numpy as np

    from napari_pathreason.tasks import TASKS
    from napari_pathreason.types import GenerationSettings, Prompt, Query

    prompt = Prompt(
        (np.zeros((64, 64, 3), np.uint8),), TASKS["vqa"].messages(Query("vqa", "Is it?"))
    )
    with serving(transformers_serve()) as server:
        performer = load_server(server.address)
        assert performer.capabilities.pixels
        server.dialect.refused += ("chat_template_kwargs",)  # it was started otherwise
        with pytest.raises(ModelError):
            list(performer.generate(prompt, GenerationSettings(), Event()))
        again = load_server(server.address)
        assert not again.capabilities.pixels
        *_, done = again.generate(prompt, GenerationSettings(), Event())
        assert done.finish == "stop"


def test_what_is_remembered_can_be_read_without_the_server(folders):
    with serving() as server:
        assert read_model_info(server.url) is None
        loaded = load_server(server.url).info
        address, named = server.url, server.address
    assert read_model_info(named) == loaded
    assert read_model_info(address) == loaded


def test_no_key_is_ever_written(folders, monkeypatch):
    monkeypatch.setenv("PATHREASON_API_KEY", "very-secret")
    with serving(key="very-secret") as server:
        performer = load_server(server.address)
        assert set(server.keys) == {"very-secret"}
    assert "very-secret" not in repr(performer.info)
    for folder in folders:
        for file in files(folder):
            assert "very-secret" not in file.read_text()


def test_keys_of_the_keyring_are_per_server(folders, monkeypatch):
    held = {}
    ring = SimpleNamespace(
        __spec__=SimpleNamespace(),
        get_password=lambda service, name: held.get((service, name)),
        set_password=lambda service, name, key: held.update({(service, name): key}),
        delete_password=lambda service, name: held.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    one, other = parse_address(LAB), parse_address("http://other:8000/v1")
    keep_key(one, "abc")
    assert held == {("napari-pathreason", "lab-server:8000"): "abc"}
    assert (key_of(one), key_of(other)) == ("abc", "")
    monkeypatch.setenv("PATHREASON_API_KEY", "from-environment")
    assert key_of(one) == "from-environment"
    monkeypatch.delenv("PATHREASON_API_KEY")
    keep_key(one, "")
    assert not held
    keep_key(one, "")  # again is harmless


def test_a_broken_keyring_is_no_key(folders, monkeypatch):
    def fail(*_):
        raise RuntimeError("locked")

    ring = SimpleNamespace(__spec__=SimpleNamespace(), get_password=fail, set_password=fail)
    monkeypatch.setitem(sys.modules, "keyring", ring)
    assert key_of(parse_address(LAB)) == ""
    with pytest.raises(ModelError, match="PATHREASON_API_KEY") as refused:
        keep_key(parse_address(LAB), "abc")
    assert "abc" not in str(refused.value)


def test_without_a_keyring_the_environment_is_named(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="PATHREASON_API_KEY"):
        keep_key(parse_address(LAB), "abc")


def test_the_convention_of_boxes_is_remembered(folders):
    with serving(vllm(models=("somebody/model",))) as server:
        set_boxes(server.url, "resized")
        assert load_server(server.url).info.box_space == "resized"
        set_boxes(server.url, "")
        assert load_server(server.url).info.box_space == "relative"  # as it boxes the probe
        with pytest.raises(QueryError, match="relative, resized, relative_yx"):
            set_boxes(server.url, "corners")


def test_a_server_has_no_files(folders):
    with pytest.raises(ModelError, match="no weights on this machine"):
        find_checkpoint(LAB)


def test_names_that_are_paths_lose_their_folders(folders):
    from tests.support.servers import llama_cpp

    with serving(llama_cpp()) as server:
        info = load_server(server.url).info
    assert info.name == "medgemma-4b.gguf"
    assert "/srv" not in json.dumps([info.name, info.notes])
