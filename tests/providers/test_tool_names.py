"""Names of tools, fitted to what an upstream takes: distinct, stable, and only where they must be."""

import re

from hypothesis import given
from hypothesis import strategies as st

from providers.common.tool_names import fitted, renamed
from providers.contract import Json

PATTERN = "[a-zA-Z0-9_-]{1,64}"


def function(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def test_names_that_fit_are_left_alone() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [function("a-B_1"), {"type": "web_search"}]}
    same, names = renamed(body, PATTERN, 64)
    assert same is body
    assert names == {}
    odd = body | {"tools": [function("a.b")]}
    assert renamed(odd, "", 64) == (odd, {})


def test_each_rule() -> None:
    names = ["a.b", "a/b", "a_b", "a:b", "天气", "", "x" * 70, "x" * 71]
    assert fitted(names, PATTERN, 64) == {
        "a_b": "a_b",
        "a.b": "a_b_2",
        "a/b": "a_b_3",
        "a:b": "a_b_4",
        "天气": "__",
        "": "_",
        "x" * 70: "x" * 64,
        "x" * 71: "x" * 62 + "_2",
    }
    kimi = "[a-zA-Z][a-zA-Z0-9_-]{0,63}"
    assert fitted(["21st.find", "_x", "ok"], kimi, 64) == {"ok": "ok", "21st.find": "f_21st_find", "_x": "f__x"}


@given(st.lists(st.text("ab._-/ü", max_size=5), max_size=30))
def test_distinct_names_stay_distinct(names: list[str]) -> None:
    made = fitted(names, "[a-z_-]{1,4}", 4)
    assert made.keys() == set(names)
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[a-z0-9_-]{1,4}", name) for name in made.values())


def test_many_names_that_become_one() -> None:
    made = fitted([f"tool{chr(0x4E00 + n)}" for n in range(20_000)], PATTERN, 64)
    assert len(set(made.values())) == 20_000


def test_many_names_that_differ_in_their_end_only_cost_no_more_than_others() -> None:
    """Each pair becomes one name with a number: the numbers of all pairs come from one count."""
    names = ["x" * 126 + f"{n:02x}" + end for n in range(256) for end in ("", "!!", "??")]
    fit = fitted(names, "[a-zA-Z0-9_-]{1,128}", 128)
    assert len(set(fit.values())) == len(names)
    assert sorted(sent.rpartition("_")[2] for sent in fit.values() if "_" in sent)[-1] == "99"
    assert max(int(sent.rpartition("_")[2]) for sent in fit.values() if "_" in sent) == 2 * 256 + 1
