"""What gateways answer to those who ask whether they open ports."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.diagnostics.gateway import (
    NAT_PMP_REQUEST,
    SSDP_REQUEST,
    default_gateway,
    default_router,
    is_gateway_device,
    nat_pmp_address,
    pcp_request,
    speaks_pcp,
)

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
DEFAULT = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t{metric}\t00000000\t0\t0\t0"


def test_pcp_is_asked_for_without_mapping_anything():
    request = pcp_request("192.168.1.7")
    assert (len(request), request[:4], request[4:8]) == (24, b"\2\0\0\0", bytes(4))
    assert request[8:] == bytes(10) + b"\xff\xff" + bytes([192, 168, 1, 7])
    assert pcp_request("2001:db8::1")[8:10] == b"\x20\x01"
    assert speaks_pcp(b"\2\x80\0\0" + bytes(20))
    assert not speaks_pcp(b"\2\x80\0\2" + bytes(20)), "not authorised"
    assert not speaks_pcp(b"\0\x80\0\1" + bytes(20)), "a NAT-PMP gateway, which knows no version 2"
    assert not speaks_pcp(request), "its own question"


def test_nat_pmp_tells_the_outer_address():
    assert NAT_PMP_REQUEST == b"\0\0"
    assert nat_pmp_address(b"\0\x80\0\0" + bytes(4) + b"\xcb\0\x71\x05") == IPv4Address("203.0.113.5")
    assert nat_pmp_address(b"\0\x80\0\2" + bytes(8)) is None
    assert nat_pmp_address(b"\0\x80\0\0") is None


def test_upnp_gateways_say_what_they_are():
    assert SSDP_REQUEST.endswith(b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nst: urn:schemas-upnp-org:device:%s:2\r\n\r\n"
    assert is_gateway_device(answer % b"InternetGatewayDevice")
    assert not is_gateway_device(answer % b"MediaRenderer")
    assert not is_gateway_device(SSDP_REQUEST)


def test_the_default_route_of_the_least_metric_has_the_gateway():
    lines = [HEADER, DEFAULT.format(metric=100), DEFAULT.format(metric=50).replace("0101A8C0", "FE01A8C0")]
    assert default_gateway(lines) == "192.168.1.254"
    assert default_gateway([HEADER, "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"]) is None
    assert default_gateway([]) is None


def test_the_router_is_in_the_narrowest_network_of_its_own_interface():
    link = "{interface}\t{network}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0"
    lines = [
        HEADER,
        DEFAULT.format(metric=100),
        link.format(interface="eth0", network="0000A8C0", mask="0000FFFF"),
        link.format(interface="eth0", network="0001A8C0", mask="00FFFFFF"),
        link.format(interface="eth0", network="0002A8C0", mask="00FFFFFF"),
        link.format(interface="ml0", network="0001A8C0", mask="FEFFFFFF"),
    ]
    router = default_router(lines)
    assert str(router.address) == "192.168.1.1"
    assert str(router.link) == "192.168.1.0/24"
    assert default_router(lines[:2]).link is None


@given(st.binary(max_size=1200), st.lists(st.text()))
def test_rubbish_is_no_answer(data, lines):
    assert speaks_pcp(data) in (True, False)
    nat_pmp_address(data)
    is_gateway_device(data)
    default_gateway(lines)
