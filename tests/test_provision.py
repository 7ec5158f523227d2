from hypothesis import given
from hypothesis import strategies as st

from launcher.acquire import token_of
from launcher.ledger import new_run_id


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,40}", fullmatch=True), st.sampled_from(["us-east-1", "ap-southeast-2"]))
def test_tokens_fit_ec2_whatever_the_name_and_stay_the_same(name: str, region: str):
    run_id = new_run_id(name)
    assert len(token_of(run_id, region)) + len("-s") <= 64
    assert token_of(run_id, region) == token_of(run_id, region)
    assert token_of(run_id, region) != token_of(run_id, "eu-west-1")
