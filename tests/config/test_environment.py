from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.environment import UnreadableError, Variable, read_variables, target, variable_name
from gateway.config.given import Findings
from gateway.config.schema import known_paths

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(_[a-z0-9]{1,8}){0,2}", fullmatch=True).filter(
    lambda name: not name.endswith("_file")
)
paths = st.lists(names, min_size=1, max_size=5).map(tuple).filter(lambda path: path != ("config",))


def variable(raw: str, *, from_file: bool = False) -> Variable:
    return Variable("OTP_GATEWAY_A__B", ("a", "b"), from_file, raw)


@given(path=paths, from_file=st.booleans())
def test_a_variables_name_leads_back_to_its_key(path, from_file):
    assert target(variable_name(path, from_file=from_file)) == (path, from_file)


@given(path=paths, from_file=st.booleans())
def test_the_case_of_a_variables_name_does_not_matter(path, from_file):
    assert target(variable_name(path, from_file=from_file).lower()) == (path, from_file)


@given(first=st.tuples(paths, st.booleans()), second=st.tuples(paths, st.booleans()))
def test_two_keys_never_share_a_variable(first, second):
    same = variable_name(first[0], from_file=first[1]) == variable_name(second[0], from_file=second[1])
    assert same is (first == second)


def test_every_key_there_is_can_be_set_by_a_variable():
    known = list(known_paths({"channels": ["sms_eu"], "services": ["shop"]}))
    assert ("channels", "sms_eu", "timeout") in known
    assert [target(variable_name(path)) for path in known] == [(path, False) for path in known]


@pytest.mark.parametrize(
    "name", ["PATH", "OTP_GATEWAY", "OTP_GATEWAY_CONFIG", "otp_gateway_config", "MY_OTP_GATEWAY_A"]
)
def test_a_variable_that_sets_no_key_is_left_alone(name):
    assert target(name) is None


def test_whole_tables_come_before_their_keys():
    found = read_variables({"OTP_GATEWAY_A__B__C": "1", "OTP_GATEWAY_Z": "2"}, Findings())
    assert [item.path for item in found] == [("z",), ("a", "b", "c")]


def test_a_variables_value_is_not_in_its_repr():
    assert "s3cr3t" not in repr(variable("s3cr3t"))


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a ", " a "), ("ü".encode(), "ü"), (b"", "")],
)
def test_a_file_is_read_without_the_newline_at_its_end(tmp_path, content, text):
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o400)
    assert variable(str(file), from_file=True).read() == text


@pytest.mark.parametrize(("mode", "shown"), [(0o644, "0644"), (0o404, "0404")])
def test_a_file_every_user_can_read_is_refused(tmp_path, mode, shown):
    file = tmp_path / "secret"
    file.write_text("s3cr3t")
    file.chmod(mode)
    with pytest.raises(UnreadableError) as caught:
        variable(str(file), from_file=True).read()
    assert str(caught.value) == (
        f"the file it names can be read by every user (mode {shown}); "
        "run chmod o-r on it, or mount the secret with mode 0400"
    )


def test_a_file_its_group_can_read_is_taken(tmp_path):
    file = tmp_path / "secret"
    file.write_text("s3cr3t")
    file.chmod(0o640)
    assert variable(str(file), from_file=True).read() == "s3cr3t"


def test_a_file_without_end_is_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"a" * 65_537)
    file.chmod(0o600)
    with pytest.raises(UnreadableError, match=r"^the file it names is over 65536 bytes$"):
        variable(str(file), from_file=True).read()


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"\xff")
    file.chmod(0o600)
    with pytest.raises(UnreadableError, match=r"^is not UTF-8$"):
        variable(str(file), from_file=True).read()


@pytest.mark.parametrize(("raw", "reason"), [("", "Is a directory"), ("/", "Is a directory"), ("a\0b", "not a path")])
def test_what_is_no_file_is_refused(raw, reason):
    with pytest.raises(UnreadableError, match=f"^the file it names cannot be read: {reason}$"):
        variable(raw, from_file=True).read()
