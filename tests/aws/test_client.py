import os
import threading
from dataclasses import replace

import pytest

from launcher.aws.client import Aws
from launcher.domain import Account
from launcher.errors import CredentialsError, SpecError


@pytest.fixture
def profiles(cloud, tmp_path):
    """An account whose files hold several profiles, good and bad."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text(
        f"[default]\nregion = us-east-1\nendpoint_url = {cloud.url}\n"
        f"[profile west]\nregion = us-west-2\nendpoint_url = {cloud.url}\n"
        f"[profile bare]\nendpoint_url = {cloud.url}\n"
        f"[profile half]\nregion = us-east-1\n"
        f"[profile empty]\nregion = us-east-1\n"
        "[profile sso]\nregion = us-east-1\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = dev\n"
        "[sso-session work]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n"
    )
    key = "aws_access_key_id = AKIATEST\naws_secret_access_key = secret\n"
    credentials.write_text(f"[default]\n{key}[west]\n{key}[bare]\n{key}[half]\naws_access_key_id = AKIATEST\n")
    return Account(config_file=config, credentials_file=credentials)


def test_identity(aws):
    identity = aws.identity()
    assert identity.account_id == "123456789012"
    assert identity.arn.startswith("arn:aws:sts::123456789012:")


def test_the_profile_brings_its_region(profiles):
    assert Aws(replace(profiles, profile="west")).region == "us-west-2"


def test_a_region_given_wins(profiles):
    assert Aws(replace(profiles, profile="west", region="eu-west-1")).region == "eu-west-1"
    assert Aws(replace(profiles, profile="west", region="eu-west-1"), "eu-west-3").region == "eu-west-3"


def test_no_region(profiles):
    with pytest.raises(SpecError) as caught:
        Aws(replace(profiles, profile="bare"))
    assert "aws configure set region" in caught.value.hint


def test_aws_region_is_read_as_the_cli_reads_it(profiles, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert Aws(replace(profiles, profile="bare")).region == "eu-north-1"


def test_unknown_profile(profiles):
    with pytest.raises(CredentialsError) as caught:
        Aws(replace(profiles, profile="nobody"))
    assert "nobody" in caught.value.message
    assert caught.value.hint == "aws configure list-profiles"


def test_no_credentials(profiles):
    with pytest.raises(CredentialsError) as caught:
        Aws(replace(profiles, profile="empty")).identity()
    assert "aws configure" in caught.value.hint


def test_half_credentials(profiles):
    with pytest.raises(CredentialsError) as caught:
        Aws(replace(profiles, profile="half")).identity()
    assert "aws_secret_access_key" in caught.value.message


def test_a_login_that_has_lapsed_names_the_command(profiles, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CredentialsError) as caught:
        Aws(replace(profiles, profile="sso")).identity()
    assert caught.value.hint == "aws sso login --profile sso"


def test_expired_token(aws, cloud):
    cloud.refuse("GetCallerIdentity", "ExpiredToken", "The security token included in the request is expired", 403)
    with pytest.raises(CredentialsError) as caught:
        aws.identity()
    assert caught.value.hint == "aws sso login --profile default"


def test_refused_credentials(aws, cloud):
    cloud.refuse("GetCallerIdentity", "InvalidClientTokenId", "The security token is invalid", 403)
    with pytest.raises(CredentialsError) as caught:
        aws.identity()
    assert caught.value.hint == "aws configure"


def test_the_accounts_own_files_win_over_the_environment(account, cloud, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws = Aws(account)
    assert aws.identity().account_id == "123456789012"
    assert aws.region == "us-east-1"
    assert aws._session.get_credentials().access_key == "AKIATEST"


def test_without_files_of_its_own_the_environment_counts(cloud, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws = Aws(Account())
    assert aws.identity().account_id == "123456789012"
    assert aws.region == "eu-west-1"


def test_the_environment_is_left_alone(account, cloud):
    before = dict(os.environ)
    Aws(account).identity()
    assert dict(os.environ) == before


def test_a_sibling_is_kept_and_speaks_to_its_own_region(aws):
    west = aws.at("us-west-2")
    assert west.region == "us-west-2"
    assert west.at("us-east-1") is aws
    assert aws.at("us-west-2") is west
    assert west.ec2.meta.region_name == "us-west-2"
    assert aws.ec2.meta.region_name == "us-east-1"


def test_clients_are_kept_and_made_safely_by_many_threads(account, cloud):
    aws = Aws(account)
    seen, gate = [], threading.Barrier(12)

    def ask(region):
        gate.wait()
        seen.append(aws.at(region).sts.get_caller_identity()["Account"])

    threads = [threading.Thread(target=ask, args=(f"us-{side}-{n}",)) for side in ("east", "west") for n in (1, 2)] * 1
    threads += [threading.Thread(target=ask, args=("us-east-1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["123456789012"] * 12
    assert aws.ec2 is aws.ec2


def test_the_launch_client_repeats_nothing(aws, cloud):
    cloud.refuse("CreateFleet", "InsufficientInstanceCapacity", status=500)
    with pytest.raises(aws.launcher_ec2.exceptions.ClientError):
        aws.launcher_ec2.create_fleet(
            LaunchTemplateConfigs=[], TargetCapacitySpecification={"TotalTargetCapacity": 1}, Type="instant"
        )
    assert len(cloud.asked("CreateFleet")) == 1


def test_the_endpoint(aws, cloud):
    assert aws.endpoint_host == "127.0.0.1"
    assert f"http://{aws.endpoint}" == cloud.url


def test_a_region_that_is_no_name(account, cloud):
    with pytest.raises(SpecError):
        _ = Aws(account, "us east 1").ec2
