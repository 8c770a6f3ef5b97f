"""What the agent made on the host stays as it made it, or it says why not."""

import pytest

from meshloom.errors import MeshError
from meshloom.testing.tunnel_ground import Disturbance
from meshloom_agent.report import CONNECTED, Report
from meshloom_agent.upkeep import Upkeep

pytestmark = pytest.mark.anyio


class Part:
    """A part of a host that a test changes."""

    def __init__(self):
        self.found, self.refusal, self.put_back_count = [], "", 0

    async def __call__(self, *, look_only=False):
        if self.refusal and self.found and not look_only:
            raise MeshError(self.refusal)
        said = tuple(self.found)
        if not look_only:
            self.put_back_count += bool(said)
            self.found.clear()
        return said


@pytest.fixture
def part():
    return Part()


@pytest.fixture
def kept(part):
    report = Report()
    report.management.connected = report.signal.connected = True
    report.progress()
    made = Upkeep(report)
    made.add("the firewall", part)
    return made, report


async def test_a_change_is_put_back_at_once_and_logged_with_what_it_was(kept, part, caplog):
    upkeep, report = kept
    part.found.append("its chain was gone")
    await upkeep.look()
    assert (part.put_back_count, report.state, report.counters.put_back) == (1, CONNECTED, 1)
    assert "the firewall" in caplog.text
    assert "its chain was gone" in caplog.text


async def test_what_is_changed_again_and_again_is_put_back_more_and_more_slowly_and_told(kept, part, caplog):
    upkeep, report = kept
    for _ in range(500):
        part.found[:] = ["its chain was gone"]
        await upkeep.look()
        assert report.state != CONNECTED or not part.found
    assert part.put_back_count < 5
    assert report.state != CONNECTED
    assert report.trouble == "the firewall: something else changes it again and again: its chain was gone"
    assert len(caplog.records) < 10


async def test_what_cannot_be_put_back_is_told_until_it_can(kept, part, until):
    upkeep, report = kept
    part.found.append("its chain was gone")
    part.refusal = "no permission"
    await upkeep.look()
    assert (report.state, report.trouble) == ("Connecting", "the firewall: no permission; it is tried again")
    part.refusal = ""

    async def heals():
        await upkeep.look()
        return report.state == CONNECTED

    while not await heals():
        pass
    assert not report.trouble


async def test_one_part_that_fails_keeps_no_other_from_being_put_back(kept, part):
    upkeep, _ = kept
    part.found.append("its chain was gone")
    part.refusal = "no permission"
    other = Part()
    other.found.append("a route was gone")
    upkeep.add("the routes", other)
    await upkeep.look()
    assert other.put_back_count == 1


@pytest.mark.parametrize("disturbance", list(Disturbance), ids=str)
async def test_a_tunnel_that_is_changed_from_outside_is_put_back_within_seconds(agents, air, until, disturbance):
    one, two = agents(0), agents(1)
    await until(lambda: one.report.state == two.report.state == CONNECTED and one.connected and two.connected)
    air.disturb("test0", disturbance)
    await until(lambda: not one.tunnel.device.changes)
    assert one.report.state == CONNECTED


async def test_the_status_is_of_what_is_and_never_connected_while_it_is_not(joined, meshloom, air):
    air.refuses_upkeep = "another program holds it"
    air.disturb("test0", Disturbance.DOWN)
    done = await meshloom("up")
    assert done.code == 1
    assert "another program holds it" in done.err
    shown = await meshloom("status")
    assert "Error: the interface test0: " in shown.out
    assert "another program holds it" in shown.out
    doctor = await meshloom("doctor")
    assert "[error] connection: not connected: the interface test0: " in doctor.out
    assert "another program holds it" in doctor.out
    air.refuses_upkeep = ""
    while (await meshloom("up")).code:
        pass
    assert not air.devices["test0"].changes
