import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import ModelError
from napari_pathreason.models.server import is_address, parse_address


@pytest.mark.parametrize(
    ("text", "url", "model"),
    [
        ("http://host:8000/v1", "http://host:8000/v1", ""),
        (" http://Host:8000/v1/ ", "http://host:8000/v1", ""),
        ("HTTPS://host/v1#org/Name", "https://host/v1", "org/Name"),
        ("http://host:1/v1/chat/completions", "http://host:1/v1", ""),
        ("http://host:1/v1/models#a:latest", "http://host:1/v1", "a:latest"),
        ("http://host:1", "http://host:1", ""),
        ("http://[::1]:8000/Api/v1", "http://[::1]:8000/Api/v1", ""),
    ],
)
def test_what_users_copy_is_understood(text, url, model):
    address = parse_address(text)
    assert (address.url, address.model) == (url, model)


@pytest.mark.parametrize("text", ["http://", "http:///v1", "http://host:port/v1", "http://h:0/v1"])
def test_what_is_no_address_is_said_in_a_line(text):
    with pytest.raises(ModelError, match=r"not understood; give one such as http"):
        parse_address(text)


@pytest.mark.parametrize("text", ["http://me:secret@host/v1", "http://host/v1?key=secret"])
def test_a_key_in_an_address_is_refused_and_not_repeated(text):
    with pytest.raises(ModelError, match="PATHREASON_API_KEY") as refused:
        parse_address(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("model", ["embedded", "Qwen/Qwen3-VL-2B-Instruct", "./http", "", "httpx"])
def test_other_models_are_no_addresses(model):
    assert not is_address(model)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("[::1]", True),
        ("lab-server", False),
        ("10.0.0.7", False),
        ("127.0.0.1.example.org", False),
        ("localhost.example.org", False),
    ],
)
def test_what_is_this_machine(host, here):
    assert parse_address(f"http://{host}:8000/v1").is_here is here


names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)


@given(names, names, names, names)
def test_models_of_servers_are_told_apart(host, model, other_host, other_model):
    one = parse_address(f"http://{host}:1/v1#{model}")
    other = parse_address(f"http://{other_host}:1/v1#{other_model}")
    same = (host.lower(), model) == (other_host.lower(), other_model)
    assert (one.digest == other.digest) is same
    assert host.lower() not in one.digest or len(host) < 5
    assert parse_address(str(one)) == one
