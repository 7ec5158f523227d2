from pathlib import Path

from launcher.sandbox import control


def test_hosts_that_hide_nothing_say_so_and_the_others_are_silent(tmp_path: Path):
    for kind, loud in (("loopback", True), ("none", False)):
        state = tmp_path / kind / "sandbox"
        state.parent.mkdir()
        try:
            running = control.start(state, hosts=kind)
            assert bool(running.warning) is loud
            assert control.status(state) == running
        finally:
            control.stop(state)
