"""Names and addresses: what is taken is safe as a path, what is not is refused with an error of ours."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import WeightsError
from launcher.registry import names

NUMBERS = st.integers(1, 999_999_999)
MODELS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True).filter(lambda text: text not in names.RESERVED)


@given(MODELS, st.one_of(NUMBERS, st.sampled_from(["champion", "latest"])))
def test_an_address_reads_back(name, which):
    assert names.parse_address(f"{name}@{which}") == names.Address(name=name, which=which)
    assert str(names.parse_address(f"{name}@{which}")) == f"{name}@{which}"


@given(st.text())
def test_any_text_is_an_address_or_a_clear_error(text):
    try:
        found = names.parse_address(text)
    except WeightsError:
        return
    assert names.is_model(found.name)
    assert isinstance(found.which, int) or found.which in {"champion", "latest"}


@pytest.mark.parametrize(
    "text",
    [
        "objects@1",
        "trash",
        "digits@",
        "digits@0",
        "digits@01",
        "digits@-1",
        "digits@1@2",
        "digits@٣",
        "../x@1",
        "Digits",
        "digits@1 ",
        "digits\n",
        "@1",
        "",
    ],
)
def test_what_is_no_address(text):
    with pytest.raises(WeightsError):
        names.parse_address(text)


@given(st.text(st.sampled_from("ab./\\ ~\0\n:*"), max_size=12) | st.text(max_size=300))
def test_a_file_s_name_stays_below_its_folder(text):
    try:
        names.check_file(text)
    except WeightsError:
        return
    path = PurePosixPath("/weights") / text
    assert path.is_relative_to("/weights")
    assert ".." not in path.parts
    assert str(path) == f"/weights/{text}"


@given(st.text(max_size=12))
def test_numbers_have_one_spelling(text):
    number = names.parse_number(text)
    assert number is None or str(number) == text
