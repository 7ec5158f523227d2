"""The files that the sandbox's process writes for others to read."""

from __future__ import annotations

from pathlib import Path

from launcher.sandbox.layout import ACCESS_KEY, PROFILE, REGION, SECRET_KEY, SandboxPaths


def write_aws_files(paths: SandboxPaths, port: int) -> None:
    """A profile with which any AWS tool speaks to the sandbox."""
    paths.aws_config.parent.mkdir(exist_ok=True, mode=0o700)
    write(
        paths.aws_config,
        f"[profile {PROFILE}]\nregion = {REGION}\nendpoint_url = http://127.0.0.1:{port}\noutput = json\n"
        f"checkip_url = http://127.0.0.1:{port}/_sandbox/checkip\n",
    )
    write(
        paths.aws_credentials,
        f"[{PROFILE}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n",
    )
    # Empty until the first host is up.
    paths.ssh_config.touch(mode=0o600)


def write(path: Path, text: str) -> None:
    """Write a file atomically, for the owner alone."""
    partial = path.with_name(path.name + ".new")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)
