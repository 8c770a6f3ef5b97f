"""The kernel's device on Debian's stock kernel, in a virtual machine: slow, since the processor is emulated."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

ROOT = Path(__file__).resolve().parents[4]
TOOL = ROOT / "tools" / "kernel-vm"
COPIES = (sys.prefix, *(ROOT / name for name in ("core", "libraries", "plugins", "services", "tests/plugins")))
CANNOT = 77

INSIDE = """
/run/modprobe wireguard && /run/modprobe tun
export MESHLOOM_PATIENCE=10
exec {python} -m pytest -p no:cacheprovider -q -rs --color=no --timeout 300 --meshloom-tunnel kernel \
    --pyargs meshloom.testing.contracts.test_tunnel tests/plugins/tunnel/kernel/test_agents.py
"""


@pytest.mark.timeout(1800)
def test_the_contract_is_kept_and_agents_reach_each_other():
    if os.environ.get("MESHLOOM_KERNEL_VM") != "1":
        pytest.skip("some minutes with an emulated processor: run it with make kernel")
    copies = [argument for folder in COPIES for argument in ("--copy", str(folder))]
    inside = INSIDE.format(python=sys.executable)
    command = [str(TOOL), "run", *copies, "sh", "-c", inside]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    sys.stdout.write(done.stdout)
    assert done.returncode == 0
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
