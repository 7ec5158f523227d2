import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.faults import skew

pytestmark = pytest.mark.skipif(not shutil.which("cc") or sys.platform != "linux", reason="needs a C compiler")
CODE = "import time, threading; a = time.monotonic(); threading.Event().wait(0.1); time.sleep(0.1); print(time.time())"


@pytest.mark.parametrize("ahead_s", [300, -300, 0])
def test_a_program_and_what_it_starts_are_ahead_and_wait_no_longer(tmp_path, ahead_s):
    env = os.environ | skew.environment(tmp_path, ahead_s)
    argv = [sys.executable, "-c", f"{CODE}; import subprocess; subprocess.run(['date', '+%s'])"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60)
    for told in done.stdout.split():
        assert abs(float(told) - time.time() - ahead_s) < 30
