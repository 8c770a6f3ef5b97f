"""Random accounts with random writes: what connected peers are sent is what a plain computation from scratch says.

Whoever's map differs gets it, whoever's does not gets nothing: this holds :mod:`meshloom.netmap.affected`, the kept and
spliced entries and the streams against a reference that knows nothing of them.
"""

import hashlib
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv6Address

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshloom.model.group import ALL, Group
from meshloom.model.ids import GroupID, PeerID, UserID
from meshloom.model.peer import PeerFlags, PeerMeta
from meshloom.model.policy import Action, Policy, PortRange, Protocol, Rule
from meshloom.model.state import AccountState
from meshloom.model.user import User
from meshloom.netmap.change import Change
from meshloom.rpc import management_pb2 as pb
from meshloom.testing import samples
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.draft import Draft
from meshloom_management.operations import peers
from meshloom_management.updates import Ended, Updates

PEERS = [PeerID(f"p{number}") for number in range(5)]
GROUPS = [GroupID(f"g{number}") for number in range(3)]
USERS = [UserID(f"u{number}") for number in range(2)]
VERSIONS = ("0.77.1", "0.40.0", "0.50.2", "development")


@st.composite
def some_peer(draw):
    id = draw(st.sampled_from(PEERS))
    number, other = PEERS.index(id), draw(st.integers(0, 1))
    return samples.peer(
        id,
        ip=IPv4Address(f"100.64.{other}.{number + 1}"),
        ipv6=IPv6Address(f"fd12:3456::{number + 1}") if draw(st.booleans()) else None,
        dns_label=f"{id}-{other}",
        ssh_key="ssh-ed25519 key" if draw(st.booleans()) else "",
        ssh_enabled=draw(st.booleans()),
        extra_dns_labels=draw(st.sampled_from([(), (f"{id}-more",)])),
        connected=draw(st.booleans()),
        meta=PeerMeta(
            agent_version=draw(st.sampled_from(VERSIONS)), flags=PeerFlags(server_ssh_allowed=draw(st.booleans()))
        ),
    )


@st.composite
def some_rule(draw, id):
    groups = st.frozensets(st.sampled_from([*GROUPS, GroupID("all")]), max_size=2)
    protocol = draw(st.sampled_from(list(Protocol)))
    with_ports = protocol not in (Protocol.ALL, Protocol.ICMP)
    return Rule(
        id,
        id,
        enabled=draw(st.sampled_from([True, True, True, False])),
        action=draw(st.sampled_from(list(Action))),
        bidirectional=draw(st.booleans()),
        protocol=protocol,
        ports=draw(st.sampled_from([(), ("22",), ("80", "443"), ("22", "22022")])) if with_ports else (),
        port_ranges=draw(st.sampled_from([(), (PortRange(20, 30),), (PortRange(7, 7),)])) if with_ports else (),
        sources=draw(groups),
        destinations=draw(groups),
        source_peer=draw(st.sampled_from([None, None, *PEERS])),
        destination_peer=draw(st.sampled_from([None, None, *PEERS])),
        authorized_groups=draw(st.sampled_from([{}, {GROUPS[0]: ("root",)}, {GROUPS[1]: ("root", "bob")}])),
    )


@st.composite
def some_policy(draw):
    id = draw(st.sampled_from(["p", "q"]))
    rules = tuple(draw(some_rule(f"{id}{number}")) for number in range(draw(st.integers(1, 2))))
    return samples.policy(id, rules=rules, enabled=draw(st.sampled_from([True, True, False])))


def groups_of(ids):
    return st.builds(
        lambda group, members: ("group", group, members), st.sampled_from(GROUPS), st.frozensets(ids, max_size=4)
    )


writes = st.one_of(
    some_peer().map(lambda peer: ("put", peer)),
    some_policy().map(lambda policy: ("put", policy)),
    groups_of(st.sampled_from(PEERS)),
    st.builds(
        lambda user, groups, blocked: ("put", samples.user(user, auto_groups=groups, is_blocked=blocked)),
        st.sampled_from(USERS),
        st.frozensets(st.sampled_from(GROUPS)),
        st.booleans(),
    ),
    st.sampled_from([*(("delete peer", id) for id in PEERS), ("delete", Policy, "p"), ("delete", User, "u0")]),
    st.sampled_from(["", "one.example", "two.example"]).map(lambda domain: ("settings", {"dns_domain": domain})),
    st.booleans().map(lambda lazy: ("settings", {"lazy_connection_enabled": lazy})),
)


def write(draft, what, *rest):
    state = draft.state
    match what:
        case "put":
            (entity,) = rest
            draft.put(entity)
            if entity.id in PEERS:
                everybody = state.groups[GroupID("all")]
                draft.put(attrs.evolve(everybody, peers=everybody.peers | {entity.id}))
        case "group":
            id, members = rest
            draft.put(samples.group(id, peers=members & state.peers.keys()))
        case "delete peer":
            if rest[0] in state.peers:
                peers.delete(draft, rest[0])
        case "delete":
            draft.delete(*rest)
        case "settings":
            changed = attrs.evolve(state.account.settings, **rest[0])
            draft.put(attrs.evolve(state.account, settings=changed))


class OneAccount:
    """Stands for ``Accounts``: one account, nothing stored."""

    def __init__(self):
        everybody = Group(id=GroupID("all"), account_id=samples.ACCOUNT, name=ALL)
        self.newest = AccountState(samples.account(), groups={everybody.id: everybody})

    def state(self, _id):
        return self.newest

    def now(self):
        return samples.MOMENT

    def listen(self, listener):
        self.listener = listener

    def change(self, *steps):
        before = self.newest
        draft = Draft(before, samples.MOMENT, bytes)
        for step in steps:
            write(draft, *step)
        change = Change.between(before, draft.written)
        if change:
            draft.put(attrs.evolve(draft.state.account, serial=before.account.serial + 1))
        self.newest = draft.state
        self.listener(before, self.newest, change)


# -- the reference -------------------------------------------------------------------------------------------------


def at_least(version, least):
    return version == "development" or tuple(map(int, version.split(".")[:2])) >= least


def side(state, groups, peer):
    members = (
        {peer}
        if peer is not None
        else {member for id in groups & state.groups.keys() for member in state.groups[id].peers}
    )
    return members & state.peers.keys()


def ports_of(rule, me, *, inward):
    if rule.protocol in (Protocol.ALL, Protocol.ICMP):
        return [{}]
    if not rule.ports and not rule.port_ranges:
        return [{"PortInfo": pb.PortInfo(range=pb.PortInfo.Range())}]
    found = [{"Port": port} for port in rule.ports]
    named = {int(port) for port in rule.ports}
    for span in rule.port_ranges:
        named |= set(range(span.start, span.end + 1))
        if rule.ports:
            continue
        if at_least(me.meta.agent_version, (0, 48)):
            found.append({"PortInfo": pb.PortInfo(range=pb.PortInfo.Range(start=span.start, end=span.end))})
        elif span.start == span.end:
            found.append({"Port": str(span.start)})
    serves = me.ssh_enabled and me.meta.flags.server_ssh_allowed and at_least(me.meta.agent_version, (0, 60))
    if inward and serves and rule.protocol is not Protocol.UDP and 22 in named and 22022 not in named:
        found.append({"Port": "22022"})
    return found


def reference(state, id):
    """The map of a peer."""
    me = state.peers[id]
    found = pb.NetworkMap(routesFirewallRulesIsEmpty=True)
    known, logins, ssh = {id}, {}, me.ssh_enabled
    for policy, rule in enabled_rules(state):
        sources = side(state, rule.sources, rule.source_peer)
        destinations = side(state, rule.destinations, rule.destination_peer)
        pairs = set()
        for mine, others, direction in ((sources, destinations, "OUT"), (destinations, sources, "IN")):
            if id in mine:
                both = {"OUT", "IN"} if rule.bidirectional else {direction}
                pairs |= {(way, other) for way in both for other in others - {id}}
        for way, other in pairs:
            known.add(other)
            add_rules(found, (policy, rule), me, state.peers[other], way)
        if id in destinations:
            ssh = allow_logins(state, me, rule, logins) or ssh
    found.firewallRulesIsEmpty = not found.FirewallRules
    add_peers(found, state, me, known)
    config, setting = found.peerConfig, state.account.settings
    config.address, config.fqdn = f"{me.ip}/16", f"{me.dns_label}.{setting.dns_domain or 'default.example'}"
    config.sshConfig.sshEnabled = ssh and me.meta.flags.server_ssh_allowed
    config.RoutingPeerDnsResolutionEnabled, config.LazyConnectionEnabled = True, setting.lazy_connection_enabled
    config.autoUpdate.version = "disabled"
    if me.ipv6:
        config.address_v6 = me.ipv6.packed + bytes([64])
    add_logins(found, logins)
    return plain(found)


def enabled_rules(state):
    policies = [policy for policy in state.policies.values() if policy.enabled]
    return [(policy, rule) for policy in policies for rule in policy.rules if rule.enabled]


def add_rules(found, of, me, there, way):
    policy, rule = of
    for address in [there.ip, there.ipv6] if me.ipv6 and there.ipv6 else [there.ip]:
        for ports in ports_of(rule, me, inward=way == "IN"):
            found.FirewallRules.add(
                PeerIP=str(address),
                Direction=way,
                Action=rule.action.name,
                Protocol="TCP" if rule.protocol is Protocol.NETBIRD_SSH else rule.protocol.name,
                PolicyID=policy.id.encode(),
                sourcePrefixes=[address.packed + bytes([address.max_prefixlen])],
                **ports,
            )


def add_peers(found, state, me, known):
    domain = state.account.settings.dns_domain or "default.example"
    zone = found.DNSConfig.CustomZones.add(Domain=f"{domain}.")
    for other in known:
        peer = state.peers[other]
        v6 = [(28, peer.ipv6)] if me.ipv6 and peer.ipv6 else []
        for label in (peer.dns_label, *peer.extra_dns_labels):
            for type_, address in [(1, peer.ip), *v6]:
                zone.Records.add(Name=f"{label}.{domain}", Type=type_, Class="IN", TTL=300, RData=str(address))
        if other != me.id:
            entry = found.remotePeers.add(
                wgPubKey=peer.key.text,
                fqdn=f"{peer.dns_label}.{domain}",
                agentVersion=peer.meta.agent_version,
                allowedIps=[f"{peer.ip}/32", *(f"{address}/128" for _, address in v6)],
            )
            entry.sshConfig.sshPubKey = peer.ssh_key.encode()
    found.remotePeersIsEmpty = not found.remotePeers
    found.DNSConfig.ServiceEnable = True
    new = all(at_least(peer.meta.agent_version, (0, 59)) for peer in state.peers.values())
    found.DNSConfig.ForwarderPort = 22054 if new else 5353


def add_logins(found, logins):
    auth = found.sshAuth
    auth.UserIDClaim = "sub"
    for login, users in logins.items():
        hashes = [hashlib.blake2b(user.encode(), digest_size=16).digest() for user in users]
        auth.AuthorizedUsers.extend(hashed for hashed in hashes if hashed not in auth.AuthorizedUsers)
        auth.machine_users[login].indexes.extend(list(auth.AuthorizedUsers).index(hashed) for hashed in hashes)


def allow_logins(state, me, rule, logins):
    """Who may log in by a rule towards me; whether it speaks of SSH at all."""
    people = {id: user for id, user in state.users.items() if not user.is_blocked}
    named = {}
    if rule.protocol is Protocol.NETBIRD_SSH:
        named = rule.authorized_groups
    else:
        at_22 = "22" in rule.ports or any(span.start <= 22 <= span.end for span in rule.port_ranges)
        if not (me.ssh_enabled and (rule.protocol is Protocol.ALL or (rule.protocol is Protocol.TCP and at_22))):
            return False
    for group, names in named.items():
        for name in names:
            members = {id for id, user in people.items() if group in user.auto_groups}
            logins[name] = logins.get(name, set()) | members
    if not named:
        logins["*"] = set(people)
    return True


def plain(found):
    """As text, with lists that have no order sorted."""
    return {
        "rules": sorted(str(rule) for rule in found.FirewallRules),
        "remote": sorted(str(peer) for peer in found.remotePeers),
        "records": sorted(str(record) for zone in found.DNSConfig.CustomZones for record in zone.Records),
        "zone": [zone.Domain for zone in found.DNSConfig.CustomZones],
        "dns": (found.DNSConfig.ServiceEnable, found.DNSConfig.ForwarderPort),
        "empty": (found.firewallRulesIsEmpty, found.remotePeersIsEmpty, found.routesFirewallRulesIsEmpty),
        "self": str(found.peerConfig),
        "users": sorted(found.sshAuth.AuthorizedUsers),
        "logins": {
            login: sorted(found.sshAuth.AuthorizedUsers[index] for index in entry.indexes)
            for login, entry in found.sshAuth.machine_users.items()
        },
    }


# -- the comparison ------------------------------------------------------------------------------------------------


class Watched:
    """Connected peers, and what each last had."""

    def __init__(self):
        self.accounts, self.clock = OneAccount(), 0.0
        addresses = ServiceAddresses("signal.example:443")
        self.updates = Updates(self.accounts, addresses, "default.example", monotonic=self.later)
        self.streams, self.had, self.serials = {}, {}, {}

    def later(self):
        self.clock += 1000.0  # no round waits for another
        return self.clock

    async def connect_new(self, stack):
        for id in self.accounts.newest.peers.keys() - self.streams.keys():
            self.streams[id] = await stack.enter_async_context(self.updates.connected(samples.ACCOUNT, id))

    def check(self):
        state = self.accounts.newest
        for id, stream in list(self.streams.items()):
            if id not in state.peers or stream.ended is not None:
                assert stream.ended is Ended.REMOVED
                assert stream.take() is None
                del self.streams[id]
                self.had.pop(id, None), self.serials.pop(id, None)
                continue
            wished = reference(state, id)
            body = stream.take() if stream.has_news else None
            if body is None:
                assert wished == self.had[id], f"{id} was not told"
                continue
            response = pb.SyncResponse.FromString(body)
            assert plain(response.NetworkMap) == wished
            assert self.had.get(id) != wished, f"{id} was told what it knows"
            assert response.NetworkMap.Serial > self.serials.get(id, 0)
            assert response.peerConfig == response.NetworkMap.peerConfig
            self.had[id], self.serials[id] = wished, response.NetworkMap.Serial


@pytest.mark.timeout(300)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(writes, min_size=1, max_size=3), min_size=4, max_size=12), st.booleans())
def test_everybody_is_told_exactly_what_changed(history, lazily):
    async def play():
        watched = Watched()
        async with AsyncExitStack() as stack:
            for number, id in enumerate(PEERS):
                meta = PeerMeta(agent_version="0.77.1")
                watched.accounts.change(("put", samples.peer(id, ip=IPv4Address(f"100.64.9.{number}"), meta=meta)))
            for number, steps in enumerate(history):
                await watched.connect_new(stack)
                watched.accounts.change(*steps)
                if not lazily or number % 2:  # a slow reader sees only the newest
                    watched.check()
            watched.check()

    anyio.run(play)
