"""The doctor's checks: each looks at the facts and says what it finds, and what to do about it."""

from collections.abc import Callable
from enum import IntEnum
from ipaddress import ip_network

import attrs

from meshloom.text import LONGEST_LINE, printable
from meshloom_agent.diagnostics.facts import WIREGUARD_HEADER, Facts, tunnel_mtu
from meshloom_agent.diagnostics.filters import firewall_objections
from meshloom_agent.in_use import PORT_TAKEN
from meshloom_agent.rivalry import RIVAL
from meshloom_agent.shown import shown_space, shown_transport
from meshloom_agent.unenforced import BEGINNING as UNENFORCED
from meshloom_linux.ipv6 import NO_IPV6


class Level(IntEnum):
    """How bad a finding is; what could not be looked at is no finding."""

    OK = 0
    UNKNOWN = 1
    NOTE = 2
    WARNING = 3
    ERROR = 4


@attrs.frozen
class Finding:
    """What one check found.

    Args:
        name: Of the check.
        fix: What to do; empty where nothing needs to be done.
    """

    name: str
    level: Level
    text: str
    fix: str = ""


Check = Callable[[Facts], Finding]

CLOCK_WARNING, CLOCK_ERROR = 30.0, 300.0
"""Seconds of difference: tokens of relays and sessions live for minutes, certificates' first day may be today."""
LEAST_SPACE = 16 << 20
UNDERLAY_HEADERS = 48
"""IPv6 and UDP."""
OVERLAY = "100.64.0.0/10"
OTHER_VPNS = (
    "tailscale",
    "wt",
    "utun",
    "zt",
    "tun",
    "tap",
    "wg",
    "nordlynx",
    "proton",
    "ppp",
    "nebula",
    "ipsec",
    "vti",
)
WIRES = ("websocket", "quic")
"""What relays speak."""
HALVES = frozenset(map(ip_network, ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "::/1", "8000::/1")))


def daemon(facts: Facts) -> Finding:
    """Whether it runs, and is what this program is."""
    if facts.daemon_trouble:
        return Finding("daemon", Level.ERROR, facts.daemon_trouble, _permission_fix(facts))
    if facts.known.daemon_version != facts.version:
        text = f"the daemon is version {facts.known.daemon_version}, this program {facts.version}"
        return Finding("daemon", Level.WARNING, text, "meshloom service restart")
    return Finding("daemon", Level.OK, f"runs, version {facts.version}")


def connection(facts: Facts) -> Finding:
    """Whether the daemon is connected to its servers."""
    if facts.daemon_trouble:
        return Finding("connection", Level.UNKNOWN, "no daemon to ask")
    if facts.state == "Connected":
        return Finding("connection", Level.OK, "connected to management and signal")
    if facts.state == "Idle":
        return Finding("connection", Level.WARNING, "the daemon is not to be connected", "meshloom up")
    if facts.state in ("NeedsLogin", "LoginFailed", "SessionExpired"):
        text = facts.waiting or "the server does not know this machine"
        return Finding("connection", Level.ERROR, text, "meshloom up --setup-key KEY")
    return Finding("connection", Level.ERROR, f"not connected: {facts.waiting or facts.state}", "see the checks below")


def management(facts: Facts) -> Finding:
    """Whether the daemon does all that management says."""
    if facts.daemon_trouble:
        return Finding("management", Level.UNKNOWN, "no daemon to ask")
    if refused := [text for text in facts.warnings if not text.startswith((UNENFORCED, NO_IPV6, RIVAL, PORT_TAKEN))]:
        fix = "ask whoever runs the server; what is refused is not done, the rest is"
        return Finding("management", Level.WARNING, "; ".join(refused), fix)
    return Finding("management", Level.OK, "nothing that it says is refused")


def policies(facts: Facts) -> Finding:
    """Whether the daemon enforces all that policies say."""
    good = "they limit nothing but who is connected with whom"
    fix = "let policies connect only machines that may reach everything, or limit it by this host's own firewall"
    return _warned(facts, "policies", UNENFORCED, good, lambda said: (Level.WARNING, "; ".join(said), fix))


def plugins(facts: Facts) -> Finding:
    """Whether the installed plugins can be loaded."""
    if facts.plugin_trouble:
        fix = "uninstall it, or name it in MESHLOOM_PLUGINS_DISABLED and in the daemon's configuration"
        return Finding("plugins", Level.ERROR, facts.plugin_trouble, fix)
    return Finding("plugins", Level.OK, "all can be loaded")


def tunnel(facts: Facts) -> Finding:
    """Whether there is a WireGuard to use."""
    running = [each for each in facts.tunnels if not each.objection]
    if running:
        more = f", {facts.wireguard_go}" if facts.wireguard_go and running[0].name == "wireguard-go" else ""
        note = "" if facts.has_module else "; the kernel has no WireGuard module"
        return Finding("tunnel", Level.OK, f"{running[0].name} can be used{more}{note}")
    why = "; ".join(f"{each.name}: {each.objection}" for each in facts.tunnels) or "no backend is installed"
    if not facts.is_root:
        return Finding("tunnel", Level.UNKNOWN, f"cannot be judged without root ({why})")
    if not facts.has_tun:
        return Finding("tunnel", Level.ERROR, why, "modprobe tun; in a container, pass /dev/net/tun into it")
    return Finding("tunnel", Level.ERROR, why, "apt-get install wireguard-go, or load the kernel's module")


def transports(facts: Facts) -> Finding:
    """Whether relays can be reached in each way that they speak."""
    running = [each for each in facts.transports if not each.objection]
    missing = [wire for wire in WIRES if wire not in {each.wire for each in running}]
    if not missing:
        spoken = dict.fromkeys(shown_transport(each.name) for each in running)
        return Finding("transports", Level.OK, f"relays can be reached by {' and by '.join(spoken)}")
    why = "; ".join(f"{each.name}: {each.objection}" for each in facts.transports if each.objection)
    wires = " or ".join(map(shown_transport, missing))
    text = f"relays cannot be reached by {wires}: {why or 'no such transport is installed'}"
    fix = "pip install " + " ".join(f"meshloom-transport-{wire}" for wire in missing)
    return Finding("transports", Level.WARNING if running else Level.ERROR, text, fix)


def ipv6(facts: Facts) -> Finding:
    """Whether this machine can have an IPv6 address in the mesh."""
    if objection := facts.no_ipv6:
        fix = "nothing, if that is meant; else: sysctl net.ipv6.conf.all.disable_ipv6=0"
        return Finding("ipv6", Level.NOTE, f"{NO_IPV6}: {objection}", fix)
    return Finding("ipv6", Level.OK, "the interface can have an IPv6 address")


def own_key(facts: Facts) -> Finding:
    """Whether this machine alone has its key."""

    def told(said: list[str]) -> tuple[Level, str, str]:
        text, _, fix = said[0].partition("; ")
        return Level.ERROR, text, fix

    return _warned(facts, "key", RIVAL, "no other machine uses it", told)


def port(facts: Facts) -> Finding:
    """Whether WireGuard has the UDP port that was asked for."""

    def told(said: list[str]) -> tuple[Level, str, str]:
        text, _, fix = said[0].rpartition(": ")
        return Level.WARNING, text, fix

    return _warned(facts, "port", PORT_TAKEN, "WireGuard has the one that it was told", told)


def _warned(
    facts: Facts, subject: str, beginning: str, good: str, told: Callable[[list[str]], tuple[Level, str, str]]
) -> Finding:
    """Returns what the daemon's warnings of one kind say, by their beginning."""
    if facts.daemon_trouble:
        return Finding(subject, Level.UNKNOWN, "no daemon to ask")
    said = [text for text in facts.warnings if text.startswith(beginning)]
    return Finding(subject, *told(said)) if said else Finding(subject, Level.OK, good)


def state_folder(facts: Facts) -> Finding:
    """Whether the daemon's folder is private, and has room."""
    folder = facts.folder
    if not folder.path or folder.mode < 0:
        return Finding("state", Level.UNKNOWN, f"{folder.path or 'its folder'} is not there, or not to be looked at")
    if folder.mode & 0o077:
        text = f"{folder.path} has mode {folder.mode:o}: others can look into it"
        return Finding("state", Level.ERROR, text, f"chmod 700 {folder.path}")
    if folder.free < LEAST_SPACE:
        text = f"{folder.path} has {shown_space(folder.free)} left: keys and maps are not kept"
        return Finding("state", Level.ERROR, text, "make room on that disk")
    if facts.is_root and not folder.writable:
        return Finding("state", Level.ERROR, f"{folder.path} cannot be written", "mount it for writing")
    return Finding("state", Level.OK, f"{folder.path} is private and has {shown_space(folder.free)} left")


def clock(facts: Facts) -> Finding:
    """Whether this machine's clock is the server's."""
    web = facts.netcheck.web
    if web is not None and ("not yet valid" in web.distrust or "expired" in web.distrust):
        text = f"the server's certificate is {web.distrust}: it is, or this clock is wrong"
        return Finding("clock", Level.WARNING, text, "timedatectl set-ntp true")
    skew = web.skew if web else None
    if skew is None:
        return Finding("clock", Level.UNKNOWN, "the server told no time to compare with")
    if abs(skew) < CLOCK_WARNING:
        return Finding("clock", Level.OK, "agrees with the server's")
    way = "ahead of" if skew > 0 else "behind"
    level = Level.ERROR if abs(skew) >= CLOCK_ERROR else Level.WARNING
    return Finding("clock", level, f"{abs(skew):.0f} s {way} the server's", "timedatectl set-ntp true")


def names(facts: Facts) -> Finding:
    """Whether the servers' names have addresses."""
    bad = {host: error for host, error in facts.names.items() if error}
    if bad:
        text = "; ".join(f"{host}: {error}" for host, error in sorted(bad.items()))
        return Finding("dns", Level.ERROR, text, "check /etc/resolv.conf, or what stands between here and its servers")
    return Finding("dns", Level.OK, f"{len(facts.names)} names of servers have addresses")


def servers(facts: Facts) -> Finding:
    """Whether management, signal and relays can be connected to."""
    reached = [each for each in facts.netcheck.servers if each.kind != "stun"]
    bad = [each for each in reached if each.error]
    if facts.netcheck.portal:
        fix = "log in to this network with a browser, or use another one"
        return Finding("servers", Level.ERROR, f"a captive portal is in the way: {facts.netcheck.portal}", fix)
    if bad:
        text = "; ".join(f"{each.kind} {each.server}: {each.error}" for each in bad)
        return Finding("servers", Level.ERROR, text, "check that its TCP port is allowed out, and that it runs")
    if not reached:
        return Finding("servers", Level.UNKNOWN, "none is known", "give --management-url")
    return Finding("servers", Level.OK, f"{len(reached)} reached")


def udp(facts: Facts) -> Finding:
    """Whether UDP gets out and back, and what the NAT leaves of direct paths."""
    found = facts.netcheck
    if found.udp:
        return Finding("udp", Level.OK, f"works; NAT mapping {found.mapping}, filtering {found.filtering}")
    if found.udp is None:
        return Finding("udp", Level.UNKNOWN, found.udp_unknown)
    stuns = [each for each in found.servers if each.kind == "stun"]
    fix = "allow UDP out to any port, at least to " + ", ".join(each.server for each in stuns)
    return Finding("udp", Level.WARNING, "no STUN server answers: only relayed paths can work", fix)


def firewall(facts: Facts) -> Finding:
    """Whether rules of this host drop what is the mesh's."""
    if facts.network.ruleset is None:
        why = "nft printed nothing" if facts.is_root else "needs root"
        return Finding("firewall", Level.UNKNOWN, f"the rules could not be looked at: {why}")
    bad = firewall_objections(facts.network.ruleset, facts.known.interface, facts.known.listen_port)
    if bad:
        fix = "allow it, such as: " + "; ".join(dict.fromkeys(each.fix for each in bad))
        return Finding("firewall", Level.WARNING, "; ".join(each.text for each in bad), fix)
    if facts.network.legacy_tables:
        return Finding("firewall", Level.NOTE, "rules of the old iptables are not judged", "iptables-legacy -S")
    return Finding("firewall", Level.OK, "no rule of nftables is in the way")


def mtu(facts: Facts) -> Finding:
    """Whether the tunnel's packets fit through the network below."""
    tunnel_size = tunnel_mtu(facts)
    needed = tunnel_size + WIREGUARD_HEADER + UNDERLAY_HEADERS
    devices = {route.interface for route in facts.network.routes if not route.network.prefixlen}
    below = [each for each in facts.network.interfaces if each.name in devices and each.name != facts.known.interface]
    small = [each for each in below if each.mtu and each.mtu < needed]
    if small:
        fits = small[0].mtu - WIREGUARD_HEADER - UNDERLAY_HEADERS
        text = f"{small[0].name} has an MTU of {small[0].mtu}, a tunnel of {tunnel_size} needs {needed}"
        return Finding("mtu", Level.WARNING, text, f"meshloom up --mtu {fits}")
    path = facts.path
    if path is None or not path.largest:
        return Finding("mtu", Level.UNKNOWN, f"the tunnel has {tunnel_size}; the path could not be asked without UDP")
    if path.largest < path.wanted:
        fits = path.largest - WIREGUARD_HEADER
        text = f"of {path.wanted} bytes that a tunnel of {tunnel_size} sends, only {path.largest} get through"
        return Finding("mtu", Level.WARNING, text, f"meshloom up --mtu {fits}")
    return Finding("mtu", Level.OK, f"a tunnel of {tunnel_size} fits")


def overlap(facts: Facts) -> Finding:
    """Whether the mesh's addresses are somebody else's here: a carrier's NAT, another overlay, a LAN."""
    overlays = [ip_network(each, strict=False) for each in facts.known.overlay or (OVERLAY,)]
    bad = []
    for interface in facts.network.interfaces:
        if interface.name != facts.known.interface:
            for text in interface.addresses:
                network = ip_network(text, strict=False)
                bad += [f"{interface.name} has {text}" for own in overlays if network.overlaps(own)]
    for route in facts.network.routes:
        if route.network.prefixlen > 1 and route.interface != facts.known.interface:
            bad += [
                f"a route to {route.network} leads over {route.interface}"
                for own in overlays
                if route.network.overlaps(own)
            ]
    if not bad:
        return Finding("overlap", Level.OK, "nobody else uses the mesh's addresses here")
    level = Level.WARNING if facts.known.overlay else Level.NOTE
    text = f"{', '.join(map(str, overlays))} is the mesh's, but " + "; ".join(dict.fromkeys(bad))
    return Finding("overlap", level, text, "give the account another network_range")


def other_vpn(facts: Facts) -> Finding:
    """Whether another VPN is here, and takes everything."""
    found = [
        each
        for each in facts.network.interfaces
        if each.up
        and each.name != facts.known.interface
        and (each.kind in ("wireguard", "tun") or each.name.startswith(OTHER_VPNS))
    ]
    taken = {route.interface for route in facts.network.routes if route.network in HALVES}
    greedy = [each.name for each in found if each.name in taken]
    if greedy:
        text = f"{', '.join(greedy)} takes all traffic: paths lead through it"
        return Finding("other vpn", Level.WARNING, text, "stop it, or let it leave out the mesh's servers and peers")
    comment = next(
        (name for name in ("tailscale", "netbird", "openvpn") if name in facts.network.resolv_conf.lower()), ""
    )
    if comment:
        text = f"/etc/resolv.conf is written by {comment}"
        return Finding("other vpn", Level.NOTE, text, "only one of them can own the names of this machine")
    if found:
        return Finding("other vpn", Level.NOTE, f"{', '.join(each.name for each in found)}: another VPN beside us")
    return Finding("other vpn", Level.OK, "none")


CHECKS: tuple[Check, ...] = (
    daemon,
    connection,
    management,
    policies,
    plugins,
    own_key,
    tunnel,
    ipv6,
    port,
    transports,
    state_folder,
    clock,
    names,
    servers,
    udp,
    firewall,
    mtu,
    overlap,
    other_vpn,
)
"""In the order in which they are told: what others depend on goes first."""


def examine(facts: Facts) -> list[Finding]:
    """All checks."""
    return [each(facts) for each in CHECKS]


def as_text(findings: list[Finding]) -> str:
    """For people."""
    lines = []
    for each in findings:
        lines.append(f"[{each.level.name.lower()}] {each.name}: {each.text}")
        if each.fix:
            lines.append(f"    fix: {each.fix}")
    return "\n".join(printable(line, LONGEST_LINE) for line in lines)


def _permission_fix(facts: Facts) -> str:
    if facts.daemon_trouble.startswith("permission denied"):
        return "use sudo, or join the group that `socket_group` of the daemon's configuration names"
    return "meshloom service start"
