from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.given import Findings, Given, flatten, label, nest, section

trees = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.recursive(
        st.integers() | st.lists(st.integers()),
        lambda below: st.dictionaries(st.text(min_size=1, max_size=3), below, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(tree=trees)
def test_tables_taken_apart_can_be_built_again(tree):
    assert nest(dict(flatten(tree))) == tree


@given(tree=trees)
def test_values_put_in_any_order_build_the_same_tables(tree):
    findings = Findings()
    for path, value in reversed(list(flatten(tree))):
        findings.put(path, Given(value, path))
    assert nest({path: entry.value for path, entry in findings.given.items()}) == tree


def put(*entries: tuple[tuple[str, ...], object]) -> dict[str, object]:
    findings = Findings()
    for path, value in entries:
        findings.put(path, Given(value, path))
    return nest({path: entry.value for path, entry in findings.given.items()})


def test_a_later_value_takes_the_place_of_the_earlier_one():
    assert put((("a", "b"), 1), (("a", "b"), 2)) == {"a": {"b": 2}}


def test_a_later_value_takes_the_place_of_the_tables_below_it_and_of_the_value_above():
    assert put((("a", "b"), 1), (("a",), 2)) == {"a": 2}
    assert put((("a",), 1), (("a", "b"), 2)) == {"a": {"b": 2}}


def test_an_empty_table_takes_nothing_away():
    assert put((("a", "b"), 1), (("a",), {})) == {"a": {"b": 1}}
    assert put((("a",), {}), (("a", "b"), 1)) == {"a": {"b": 1}}


def test_places_are_named_as_the_file_or_the_environment_spells_them():
    assert (section(("a", "b")), label(("a", "b")), label(("a",))) == ("[a.b]", "[a] b", "a")
    assert Given(1, ("a", "b")).label == "[a] b"
    assert Given({}, ("a", "b")).label == "[a.b]"
    assert Given(1, ("a", "b"), "X").label == "X"
    assert Given(1, ("a", "b"), "X", inside=True).label == "X, [a] b"


def test_a_value_is_not_in_a_repr():
    assert "s3cr3t" not in repr(Given("s3cr3t", ("a",)))


def test_a_fault_is_kept_once():
    findings = Findings()
    findings.refuse(("a",), "bad")
    findings.refuse(("b",), "bad")
    assert (findings.faults, findings.refused) == (["bad"], {("a",), ("b",)})
