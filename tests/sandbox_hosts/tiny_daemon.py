"""A daemon with one host that never shuts anything down: argv is the kind and the state folder."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from launcher.sandbox import hosts
from launcher.sandbox.machine import Machine, MetadataAnswer

USER_DATA = b'#cloud-config\n{"runcmd": ["(setsid sleep 987 &)", "sleep 986"]}'


def answer(_method: str, path: str, _headers: dict[str, str]) -> MetadataAnswer:
    return MetadataAnswer(status=200, body=USER_DATA if path.endswith("user-data") else b"")


def main() -> None:
    kind, state = sys.argv[1], Path(sys.argv[2])
    driver = hosts.choose(kind, state)
    machine = Machine(
        instance_id="i-0",
        hostname="ip-10-9-9-9",
        private_address="10.9.9.9",
        public_address="198.18.9.9",
        user_data=USER_DATA,
        authorized_key=None,
        boot_delay_s=0,
        folder=state / "hosts" / "i-0",
        cloud_port=1,
        metadata=answer,
        admits=lambda _peer, _port: True,
        ended=lambda _ending: None,
    )
    host = driver.boot(machine)
    sys.stdout.write(f"{host.ssh_port}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
