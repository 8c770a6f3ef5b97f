"""What policies say beyond who is connected with whom is not enforced yet, and is said to be so."""

import pytest

from meshloom.rpc import management_pb2 as pb
from meshloom_agent.report import Report
from meshloom_agent.unenforced import unenforced

IN, OUT = pb.RuleDirection.IN, pb.RuleDirection.OUT
DROP = pb.RuleAction.DROP
TCP = pb.RuleProtocol.TCP
BOTH = ({"Direction": IN}, {"Direction": OUT})


def map_of(*rules):
    common = {"PeerIP": "100.64.0.2", "Protocol": pb.RuleProtocol.ALL}
    return pb.NetworkMap(FirewallRules=[pb.FirewallRule(**{**common, **rule}) for rule in rules])


def ranged(start, end):
    return pb.PortInfo(range=pb.PortInfo.Range(start=start, end=end))


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ((), ""),
        (BOTH, ""),
        (({"Direction": IN},), ""),  # nothing is kept from anybody: what goes out is the other's to let in
        (({"Direction": OUT},), "directions"),
        (({"Direction": OUT}, {"Direction": IN, "PeerIP": "0.0.0.0"}), ""),
        ((*BOTH, {"Direction": OUT, "PeerIP": "100.64.0.3"}), "directions"),
        ((*BOTH, {"Action": DROP}), "denials"),
        (tuple({**rule, "Protocol": TCP} for rule in BOTH), "protocols"),
        (tuple({**rule, "Protocol": TCP, "PortInfo": ranged(0, 0)} for rule in BOTH), "protocols"),
        (tuple({**rule, "Protocol": TCP, "Port": "22"} for rule in BOTH), "ports and protocols"),
        (tuple({**rule, "Protocol": TCP, "PortInfo": ranged(1, 9)} for rule in BOTH), "ports and protocols"),
        (tuple({**rule, "Protocol": TCP, "PortInfo": pb.PortInfo(port=22)} for rule in BOTH), "ports and protocols"),
    ],
)
def test_what_a_map_limits_is_named(rules, named):
    said = (
        f"not enforced by this machine yet: {named} of policies; peers that it is connected with reach everything on it"
    )
    assert unenforced(map_of(*rules)) == ((said,) if named else ())


@pytest.mark.anyio
async def test_status_says_it_while_policies_limit_ports_and_no_longer_after(
    joined, daemon, management, meshloom, until
):
    own = daemon.files.key().public.text

    def told(serial, **rule):
        made = management.map_of(own, [], serial=serial)
        made.NetworkMap.FirewallRules.extend(map_of(*({**each, **rule} for each in BOTH)).FirewallRules)
        management.tell(own, made)

    told(100, Protocol=TCP, Port="22")
    await until(lambda: daemon.report.warnings)
    said = "not enforced by this machine yet: ports and protocols of policies"
    assert said in (await meshloom("status")).out
    assert said in (await meshloom("status", "--detail")).out
    assert said in (await meshloom("doctor", "--no-ask-gateway")).out
    told(101)
    await until(lambda: not daemon.report.warnings)
    assert "not enforced" not in (await meshloom("status")).out


def test_it_is_said_once_in_the_log_and_goes_when_policies_do(caplog):
    report = Report()
    for _ in range(3):
        report.refuse("policies", unenforced(map_of(*({**rule, "Protocol": TCP, "Port": "22"} for rule in BOTH))))
    assert caplog.text.count("not enforced by this machine yet: ports and protocols") == 1
    assert len(report.warnings) == 1
    report.refuse("policies", unenforced(map_of(*BOTH)))
    assert report.warnings == []
