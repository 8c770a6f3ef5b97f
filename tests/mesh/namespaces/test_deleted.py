"""A machine that the server has removed while its daemon did not run says so as soon as that runs again."""

import json
import signal

import pytest

from meshloom.testing.deployment import BIN, AgentProgram
from meshloom.testing.namespaces import wait_until

pytestmark = [pytest.mark.privileged, pytest.mark.mesh, pytest.mark.slow]

SAYS_THE_CODE = 'meshloom=$1; shift; "$meshloom" status --daemon-addr "$1"; echo "exit $?"'


@pytest.mark.parametrize("was_up", [True, False])
def test_a_removed_machine_whose_daemon_starts_again_is_not_known_to_the_server(internet, server, was_up):
    program = AgentProgram(internet.host("gone"), internet.folder / "gone")
    program.start()
    program.up(server.url, server.setup_key())
    if not was_up:
        program.run("down")
    program.program.send_signal(signal.SIGTERM)
    assert program.program.wait(timeout=20) == 0
    (peer,) = server.api("GET", "/api/peers")[1]
    assert server.api("DELETE", f"/api/peers/{peer['id']}")[0] == 200
    program.start()

    def says_so():
        shell = ("sh", "-c", SAYS_THE_CODE, "sh", BIN / "meshloom", f"unix://{program.socket}")
        return "exit 4" in program.host.run(*shell)

    wait_until(says_so, 15, f"the status says so; see {program.log}", every=0.2)
    said = program.run("status", check=False)
    assert "management does not know this machine: " in said
    assert "This machine is not known to the server. Join with: meshloom up --setup-key KEY" in said
    assert json.loads(program.run("status", "--json", check=False))["daemonStatus"] == "NeedsLogin"
