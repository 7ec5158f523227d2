"""What cannot be: refused with the next thing to do, before anything is written down."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.places.address import Address, parse


def test_what_only_aws_has_contradicts_a_machine_of_one_s_own(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", "--region", "us-east-1", desk.job("true"))
    assert done.returncode == 2
    assert "--on local and --region contradict each other" in done.stderr
    assert desk.runs() == []


def test_all_that_contradicts_is_told_at_once(desk) -> None:
    options = [
        *("--architecture", "arm64", "--disk", "10 GiB", "--gpu", "t4", "--image", "ami-12345678"),
        *("--instance-type", "g4dn.xlarge", "--profile", "me", "--region", "all", "--sandbox", "--spot", "true"),
        *("--wait", "--wait-for", "6h", "--zone", "us-east-1a"),
    ]
    done = desk.gpurun("launch", "--on", "ssh://box", *options, desk.job("true"))
    assert done.returncode == 2
    assert ", ".join(each for each in options if each.startswith("--")) + " contradict each other" in done.stderr


@pytest.mark.parametrize(
    "place",
    [
        *("http://box", "box", "me@box", "ssh://", "ssh://me@", "ssh://me@box:0", "ssh://me@box:99999", "ssh://-oX"),
        *("locale", "", "ssh://me@box/folder", "ssh://me:secret@box", "ssh://b ox", "ssh://box\n", "LOCAL"),
    ],
)
def test_what_is_no_place_is_told_with_one_that_is(place) -> None:
    with pytest.raises(SpecError, match=r"aws, local or ssh://USER@HOST\[:PORT\] is expected") as failed:
        parse(place)
    assert "such as --on" in failed.value.hint


def test_a_bare_host_is_told_how_it_is_written(desk) -> None:
    assert "--on ssh://me@box" in desk.gpurun("launch", "--on", "me@box", desk.job("true")).stderr


def test_results_to_s3_are_for_machines_that_go(desk) -> None:
    done = desk.gpurun("launch", "--on", "local", "--outputs", "s3://bucket/runs", desk.job("true"))
    assert done.returncode == 2
    assert "--outputs FOLDER" in done.stderr


def test_a_fingerprint_is_for_a_machine_elsewhere(desk) -> None:
    assert desk.gpurun("launch", "--on", "local", "--accept-host-key", "SHA256:x", desk.job("true")).returncode == 2


def test_a_host_that_does_not_answer(desk, box) -> None:
    box.known(desk)
    box.sshd.stop()
    done = desk.gpurun("launch", "--on", box.on, desk.job("true"), timeout_s=60)
    assert done.returncode == 5
    assert "could not be reached by SSH" in done.stderr
    assert f"next: ssh {box.on}" in done.stderr
    assert desk.runs() == []


def test_a_key_that_is_refused(desk, box) -> None:
    box.known(desk)
    box.sshd.authorized_keys.write_text("")
    done = desk.gpurun("launch", "--on", box.on, desk.job("true"), timeout_s=90)
    assert done.returncode == 5
    assert "refuses" in done.stderr
    assert desk.runs() == []


def _without_python(folder: Path) -> str:
    folder.mkdir()
    for name in ("sh", "bash", "env", "cat"):
        (folder / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    return str(folder)


def test_a_machine_without_python3(desk, make_box, tmp_path) -> None:
    box = make_box(path=_without_python(tmp_path / "few"))
    box.known(desk)
    done = desk.gpurun("launch", "--on", box.on, desk.job("true"))
    assert done.returncode == 5
    assert "has no python3 on its PATH" in done.stderr
    assert "install python3 3.8 or later" in done.stderr
    assert desk.runs() == []


def test_this_machine_without_python3(desk, tmp_path) -> None:
    done = desk.gpurun("launch", "--on", "local", desk.job("true"), PATH=_without_python(tmp_path / "few"))
    assert done.returncode == 5
    assert "local has no python3 on its PATH" in done.stderr
    assert desk.runs() == []


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("echo 'Python 2.7'; exit 1", "does not work"),
        ('echo \'{"python":[3,6,1],"cpus":1,"memory":1,"machine":"m","gpus":""}\'', "is 3.6.1"),
    ],
)
def test_a_python3_that_does_not_serve(desk, tmp_path, says, told) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text(f"#!/bin/sh\n{says}\n")
    (programs / "python3").chmod(0o755)
    done = desk.gpurun("launch", "--on", "local", desk.job("true"), PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode == 5
    assert told in done.stderr
    assert "3.8 or later" in done.stderr


_HOSTS = st.from_regex(r"[a-z0-9_][a-z0-9._-]{0,20}", fullmatch=True) | st.ip_addresses().map(str)
_USERS = st.just("") | st.from_regex(r"[a-z_][a-z0-9_.+-]{0,10}", fullmatch=True)


@given(host=_HOSTS, user=_USERS, port=st.integers(1, 65535))
def test_an_address_is_read_as_it_is_written(host: str, user: str, port: int) -> None:
    address = Address(host=host, user=user, port=port)
    assert parse(str(address)) == address


@given(st.text(max_size=40))
def test_any_other_text_is_refused_and_no_more(text: str) -> None:
    try:
        address = parse(text)
    except SpecError:
        return
    assert text in {"aws", "local"} or text.startswith("ssh://")
    assert address is None or not {" ", "'", '"', ";", "$", "/", "\n"} & set(address.host + address.user)


def test_a_state_folder_that_takes_no_runs_is_told_and_nothing_begun(desk) -> None:
    desk.state.here.parent.mkdir(parents=True)
    desk.state.here.touch()
    done = desk.gpurun("launch", "--on", "local", desk.job("true"))
    assert done.returncode == 2
    assert f"runs on this machine cannot lie in {desk.state.here}" in done.stderr
    assert desk.runs() == []


def test_a_machine_that_takes_no_agent_leaves_no_run_open(desk) -> None:
    desk.state.here.mkdir(parents=True)
    (desk.state.here / "gpurun").touch()
    done = desk.gpurun("launch", "--on", "local", desk.job("true"))
    assert done.returncode == 5
    assert "let yourself write to the folder gpurun there" in done.stderr
    assert desk.run()["status"] == "failed"


def test_a_shell_without_python_does_not_end_a_run_whose_job_goes_on(desk) -> None:
    desk.gpurun("launch", "--on", "local", "--detach", desk.job("sleep 60"))
    done = desk.gpurun("down", "last", "--yes", PATH=str(desk.home))
    assert done.returncode == 5
    assert "no python3" in done.stderr
    assert desk.run()["status"] == "terminating"
    assert desk.gpurun("down", "last").returncode == 2
    assert desk.gpurun("down", "last", "--yes").returncode == 0
    assert desk.here() == []
    desk.wait_for(lambda: not desk.processes(), 10)
