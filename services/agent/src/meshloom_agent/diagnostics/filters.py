"""Rules of nftables that drop what is the mesh's, read from what ``nft -j list ruleset`` prints.

Not a simulation of the firewall: a rule counts where it names the mesh's interface or port, or most of UDP, and nothing
else; and a chain that drops by default counts where nothing in it accepts the mesh's interface.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

OWN_TABLES = ("meshloom", "netbird")
DROPS = ("drop", "reject")
SAYS_NOTHING = {"accept", "counter", "drop", "goto", "jump", "log", "queue", "reject", "return", "vmap"}
"""Expressions that say nothing of which packets a rule is about."""
PORTS = 1 << 16
UDP = ("udp", 17)


@attrs.frozen
class Objection:
    """Something of one chain that is in the way.

    Args:
        text: What it does, in words.
        fix: A command that lets the mesh through.
    """

    text: str
    fix: str


@attrs.frozen
class _Chain:
    """A chain that packets of this host go through: its family, table and name, and when they do."""

    place: tuple[str, str, str]
    hook: str
    interface: str
    port: int

    @property
    def name(self) -> str:
        """The key of rules by the interface."""
        return "iifname" if self.hook == "input" else "oifname"

    def objection(self, text: str, match: str = "") -> Objection:
        """Returns what is wrong, with a rule for this very chain."""
        family, table, chain = self.place
        accept = match or f'{self.name} "{self.interface}"'
        return Objection(
            f"chain {chain} of nft table {family} {table} {text}",
            f"nft insert rule {family} {table} {chain} {accept} accept",
        )


def firewall_objections(ruleset: Sequence[Any], interface: str, port: int) -> list[Objection]:
    """Returns what is in the way; what cannot be understood is passed over."""
    chains: dict[tuple[str, str, str], dict[str, Any]] = {}
    rules: dict[tuple[str, str, str], list[list[Any]]] = {}
    for item in ruleset:
        if not isinstance(item, dict):
            continue
        if isinstance(chain := item.get("chain"), dict) and chain.get("hook") in ("input", "output"):
            chains[_place(chain, "name")] = chain
        if isinstance(rule := item.get("rule"), dict) and isinstance(rule.get("expr"), list):
            rules.setdefault(_place(rule, "chain"), []).append(rule["expr"])
    found: list[Objection] = []
    for place, chain in chains.items():
        if place[1].startswith(OWN_TABLES):
            continue
        here, about = rules.get(place, []), _Chain(place, chain["hook"], interface, port)
        found += _dropped(here, about)
        if chain.get("policy") == "drop" and not any(_may_accept(each, about) for each in here):
            found.append(about.objection(f"drops what no rule accepts, and none accepts {interface}"))
    return found


def _dropped(rules: list[list[Any]], chain: _Chain) -> Iterator[Objection]:
    """Yields what rules drop by name, until one that accepts it."""
    own_port = "" if not chain.port else f"udp {'dport' if chain.hook == 'input' else 'sport'} {chain.port}"
    for expressions in rules:
        matches = list(_matches(expressions))
        verdicts = {key for each in expressions if isinstance(each, dict) for key in each}
        if not verdicts & set(DROPS):
            if "accept" in verdicts and len(matches) == 1 and _is(matches[0], chain.name, chain.interface):
                return
            if "accept" in verdicts and own_port and len(matches) == 1 and matches[0] == (*_parted(own_port), "=="):
                return
        elif len(matches) == 1 and _is(matches[0], chain.name, chain.interface):
            yield chain.objection(f"drops all of {chain.interface}")
        elif what := _udp_dropped(matches, chain):
            yield chain.objection(f"drops {what}", own_port or "meta l4proto udp")


def _udp_dropped(matches: "list[Match]", chain: _Chain) -> str:
    """Returns what of UDP a rule that drops is about; empty where it is not about the mesh."""
    ours, ports = ("udp dport", "udp sport") if chain.hook == "input" else ("udp sport", "udp dport")
    about = [each for each in matches if not _is_udp(each)]
    if not about:
        return "all UDP" if matches else ""
    if len(about) > 1:
        return ""
    key, value, operator = about[0]
    covers = _ports(value, operator)
    if key == ours and chain.port and chain.port in covers:
        return f"UDP port {chain.port}"
    return "most of UDP" if key in (ours, ports) and len(covers) > PORTS // 2 else ""


def _ports(value: Any, operator: str) -> set[int]:
    """Returns the ports that a match is about."""
    items = value.get("set", [value]) if isinstance(value, dict) else [value]
    found: set[int] = set()
    for item in items if isinstance(items, list) else [items]:
        ends = item.get("range") if isinstance(item, dict) else [item, item]
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int) for end in ends):
            found |= set(range(max(0, ends[0]), min(ends[1] + 1, PORTS)))
    return set(range(PORTS)) - found if operator == "!=" else found


def _may_accept(expressions: list[Any], chain: _Chain) -> bool:
    """Tells whether a rule accepts, or leads elsewhere, without naming another interface."""
    verdicts = {key for each in expressions if isinstance(each, dict) for key in each}
    if not verdicts & {"accept", "jump", "goto", "vmap", "queue"}:
        return False
    matches = {key: value for key, value, _ in _matches(expressions)}
    if chain.name in matches:
        value = str(matches[chain.name])
        return value == chain.interface or (value.endswith("*") and chain.interface.startswith(value[:-1]))
    return not matches or bool(verdicts & {"jump", "goto", "vmap", "queue"})


Match = tuple[str, Any, str]
"""What a rule looks at, what that must be, and how the two are compared."""


def _is(match: Match, key: str, value: object) -> bool:
    return match == (key, value, "==")


def _is_udp(match: Match) -> bool:
    """Tells whether a match says UDP, as nft writes it or as the iptables of today do (``ip protocol udp``)."""
    key, value, operator = match
    return key in ("l4proto", "protocol", "ip protocol", "ip6 nexthdr") and value in UDP and operator == "=="


def _matches(expressions: list[Any]) -> Iterator[Match]:
    for each in expressions:
        match = each.get("match") if isinstance(each, dict) else None
        if not isinstance(match, dict):
            if isinstance(each, dict) and each.keys() - SAYS_NOTHING:  # such as a limit, or a module of iptables
                yield "other", None, "=="
            continue
        left, right, operator = match.get("left"), match.get("right"), str(match.get("op", "=="))
        if isinstance(left, dict) and isinstance(meta := left.get("meta"), dict):
            yield str(meta.get("key")), right, operator
        elif isinstance(left, dict) and isinstance(payload := left.get("payload"), dict):
            yield f"{payload.get('protocol')} {payload.get('field')}", right, operator
        else:
            yield "other", None, operator


def _parted(match: str) -> tuple[str, int]:
    key, _, port = match.rpartition(" ")
    return key, int(port)


def _place(item: dict[str, Any], name: str) -> tuple[str, str, str]:
    return str(item.get("family")), str(item.get("table")), str(item.get(name))
