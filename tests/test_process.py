import os
import subprocess
import sys

from launcher import process


def test_this_process_is_alive_and_another_start_time_is_not():
    start = process.started(os.getpid())
    assert process.alive(os.getpid(), start)
    assert not process.alive(os.getpid(), "0")
    assert not process.alive(None, None)


def test_an_ended_process_is_not_alive_even_before_it_is_reaped():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process.started(child.pid)
    assert process.alive(child.pid, start)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive(child.pid, start)
    child.communicate()
    assert not process.alive(child.pid, start)
