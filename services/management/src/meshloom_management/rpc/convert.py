"""Messages of agents as values of the model; what they claim is bounded here."""

from collections.abc import Iterable
from typing import TypeVar

from meshloom.model.peer import PeerFlags, PeerMeta
from meshloom.rpc import management_pb2 as pb

T = TypeVar("T")

LONGEST = 255
MOST = 64


def peer_meta(message: pb.PeerSystemMeta) -> PeerMeta:
    """What a machine reports of itself; texts and lists are cut at what a machine can have."""
    flags = message.flags
    return PeerMeta(
        hostname=_text(message.hostname),
        go_os=_text(message.goOS),
        kernel=_text(message.kernel),
        core=_text(message.core),
        platform=_text(message.platform),
        os=_text(message.OS),
        os_version=_text(message.OSVersion),
        kernel_version=_text(message.kernelVersion),
        agent_version=_text(message.netbirdVersion),
        ui_version=_text(message.uiVersion),
        serial_number=_text(message.sysSerialNumber),
        product_name=_text(message.sysProductName),
        manufacturer=_text(message.sysManufacturer),
        network_addresses=tuple((_text(item.netIP), _text(item.mac)) for item in _few(message.networkAddresses)),
        files=tuple((_text(item.path), item.exist, item.processIsRunning) for item in _few(message.files)),
        flags=PeerFlags(
            rosenpass_enabled=flags.rosenpassEnabled,
            rosenpass_permissive=flags.rosenpassPermissive,
            server_ssh_allowed=flags.serverSSHAllowed,
            disable_client_routes=flags.disableClientRoutes,
            disable_server_routes=flags.disableServerRoutes,
            disable_dns=flags.disableDNS,
            disable_firewall=flags.disableFirewall,
            block_lan_access=flags.blockLANAccess,
            block_inbound=flags.blockInbound,
            lazy_connection_enabled=flags.lazyConnectionEnabled,
            disable_ipv6=flags.disableIPv6,
        ),
        capabilities=frozenset(int(number) for number in _few(message.capabilities)),
    )


def ssh_key(raw: bytes) -> str:
    """A line of authorized_keys; empty where it is none."""
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= 4096 and text.isprintable() else ""


def _text(text: str) -> str:
    return text[:LONGEST]


def _few(items: Iterable[T]) -> list[T]:
    return [item for _, item in zip(range(MOST), items, strict=False)]
