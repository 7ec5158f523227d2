"""What a policy says of a request: wildcards, conditions, denials, and what is not understood."""

from __future__ import annotations

import json
import re
from fnmatch import translate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sandbox.cloud.policies import Need, objection

SCHEDULE = "arn:aws:scheduler:r:1:schedule/g/n"
ALLOW = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
NEED = Need(action="s3:GetObject", resource="arn:aws:s3:::b/k", context={"aws:RequestTag/a": "1"})


def says(*statements: dict[str, Any], need: Need = NEED) -> str:
    return objection([json.dumps({"Statement": list(statements)})], need)


def holds(condition: dict[str, Any], **context: str | tuple[str, ...]) -> bool:
    keys = {"prefix": "s3:prefix", "tag": "aws:RequestTag/gpurun:run", "keys": "aws:TagKeys", "arn": "aws:SourceArn"}
    named = {keys[name]: value for name, value in context.items()}
    need = Need(action="s3:ListBucket", resource="arn:aws:s3:::b", context=named)
    return not says({**ALLOW, "Condition": condition}, need=need)


def test_nothing_said_is_denied():
    assert "no identity-based policy allows the s3:GetObject action" in says()
    assert "no identity-based policy" in objection([], NEED)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({}, True),
        ({"Action": "S3:getobject"}, True),
        ({"Action": ["s3:PutObject", "s3:Get?bject"]}, True),
        ({"Action": "s3:Get"}, False),
        ({"Resource": "arn:aws:s3:::b/*"}, True),
        ({"Resource": "arn:aws:s3:::B/*"}, False),
        ({"Resource": "arn:aws:s3:::[b]/k"}, False),
        ({"Resource": "arn:aws:s3:::b"}, False),
    ],
)
def test_actions_and_resources(change, allowed):
    assert (says({**ALLOW, **change}) == "") is allowed


def test_negations():
    base = {"Effect": "Allow", "Resource": "*"}
    assert not says({**base, "NotAction": "s3:Put*"})
    assert says({**base, "NotAction": "s3:Get*"})
    assert says({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*"})
    assert "explicit deny" in says(ALLOW, {"Effect": "Deny", "NotAction": "s3:Put*", "Resource": "*"})


def test_a_deny_wins_wherever_it_stands():
    deny = {"Effect": "Deny", "Action": "s3:Get*", "Resource": "*"}
    for both in ((ALLOW, deny), (deny, ALLOW)):
        assert "explicit deny" in says(*both)
    assert "explicit deny" in objection([json.dumps({"Statement": ALLOW}), json.dumps({"Statement": deny})], NEED)


@pytest.mark.parametrize(
    ("condition", "context", "held"),
    [
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, {"prefix": "b"}, True),
        ({"StringEquals": {"S3:Prefix": "b"}}, {"prefix": "b"}, True),
        ({"StringEquals": {"s3:prefix": "b*"}}, {"prefix": "bc"}, False),
        ({"StringEquals": {"s3:prefix": "b"}}, {}, False),
        ({"StringNotEquals": {"s3:prefix": "b"}}, {"prefix": "c"}, True),
        ({"StringLike": {"s3:prefix": "b/*"}}, {"prefix": "b/c/d"}, True),
        ({"StringLike": {"s3:prefix": "b/*"}}, {"prefix": "b"}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "b"}}, {}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "b"}}, {"prefix": "c"}, False),
        ({"StringLikeIfExists": {"s3:prefix": "b*"}}, {"prefix": "bc"}, True),
        ({"Null": {"aws:RequestTag/gpurun:run": "false"}}, {"tag": "r"}, True),
        ({"Null": {"aws:RequestTag/gpurun:run": False}}, {"tag": "r"}, True),
        ({"Null": {"aws:RequestTag/gpurun:run": "false"}}, {}, False),
        ({"Null": {"aws:RequestTag/gpurun:run": "true"}}, {}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"keys": ("a",)}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"keys": ("a", "c")}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"keys": ("a", "c")}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"keys": ("c",)}, False),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {}, False),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:scheduler:*:1:schedule/*"}},
            {"arn": SCHEDULE},
            True,
        ),
        ({"ArnLike": {"aws:SourceArn": "arn:*:schedule/*"}}, {"arn": SCHEDULE}, False),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:scheduler:r:?:s"}}, {"arn": "arn:aws:scheduler:r:1:s"}, True),
        ({"StringEquals": {"s3:prefix": "a", "aws:RequestTag/gpurun:run": "r"}}, {"prefix": "a"}, False),
    ],
)
def test_conditions(condition, context, held):
    assert holds(condition, **context) is held


@pytest.mark.parametrize(
    "statement",
    [
        {"Condition": {"IpAddress": {"s3:prefix": "a"}}},
        {"Condition": {"StringEqualsIgnoreCase": {"s3:prefix": "a"}}},
        {"Condition": {"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}},
        {"Condition": {"StringEquals": {"aws:SourceIp": "a"}}},
        {"Condition": {"StringEqualsIfExists": {"aws:SourceIp": "a"}}},
        {"Condition": {"Null": {"aws:SourceIp": "true"}}},
        {"Resource": "arn:aws:s3:::b/${aws:username}/*"},
        {"NotPrincipal": {"AWS": "*"}},
    ],
)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_what_is_not_understood_refuses_even_where_another_statement_allows(statement, effect, caplog):
    strange = {**ALLOW, "Effect": effect, **statement}
    assert "cannot judge" in says(ALLOW, strange)
    assert "refused s3:GetObject on arn:aws:s3:::b/k" in caplog.text


def test_what_is_not_understood_matters_where_it_speaks_of_the_request():
    elsewhere = {**ALLOW, "Action": "s3:PutObject", "Condition": {"StringEquals": {"aws:SourceIp": "a"}}}
    assert says(ALLOW, elsewhere) == ""


@given(st.text("ab*?:/.$", max_size=8), st.text("ab:/.$", max_size=8))
def test_wildcards_are_the_two_that_iam_has(pattern, value):
    expected = re.fullmatch(translate(pattern), value) is not None
    if "${" not in pattern:
        need = Need(action="s3:GetObject", resource=value)
        assert (says({**ALLOW, "Resource": pattern}, need=need) == "") is expected
