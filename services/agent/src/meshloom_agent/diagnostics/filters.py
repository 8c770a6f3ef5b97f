"""Rules of nftables that drop what is the mesh's, read from what ``nft -j list ruleset`` prints.

Not a simulation of the firewall: a rule counts where it names the mesh's interface or port, or all UDP, and nothing
else; and a chain that drops by default counts where nothing in it accepts the mesh's interface.
"""

from collections.abc import Iterator, Sequence
from typing import Any

OWN_TABLES = ("meshloom", "netbird")
DROPS = ("drop", "reject")


def firewall_objections(ruleset: Sequence[Any], interface: str, port: int) -> list[str]:
    """What is in the way, a sentence each; what cannot be understood is passed over."""
    chains: dict[tuple[str, str, str], dict[str, Any]] = {}
    rules: dict[tuple[str, str, str], list[list[Any]]] = {}
    for item in ruleset:
        if not isinstance(item, dict):
            continue
        if isinstance(chain := item.get("chain"), dict) and chain.get("hook") in ("input", "output"):
            chains[_place(chain, "name")] = chain
        if isinstance(rule := item.get("rule"), dict) and isinstance(rule.get("expr"), list):
            rules.setdefault(_place(rule, "chain"), []).append(rule["expr"])
    found = []
    for place, chain in chains.items():
        if place[1].startswith(OWN_TABLES):
            continue
        here = rules.get(place, [])
        said = f"chain {place[2]} of nft table {place[0]} {place[1]}"
        found += [f"{said} drops {what}" for what in _dropped(here, chain["hook"], interface, port)]
        if chain.get("policy") == "drop" and not any(_may_accept(each, chain["hook"], interface) for each in here):
            found.append(f"{said} drops what no rule accepts, and none accepts {interface}")
    return found


def _dropped(rules: list[list[Any]], hook: str, interface: str, port: int) -> Iterator[str]:
    """What rules drop by name, until one that accepts it."""
    name = "iifname" if hook == "input" else "oifname"
    for expressions in rules:
        matches = list(_matches(expressions))
        verdicts = {key for each in expressions if isinstance(each, dict) for key in each}
        if len(matches) != 1:
            continue
        key, value = matches[0]
        if not verdicts & set(DROPS):
            if "accept" in verdicts and key == name and value == interface:
                return
            continue
        if key == name and value == interface:
            yield f"all of {interface}"
        elif key in ("l4proto", "protocol") and value in ("udp", 17):
            yield "all UDP"
        elif hook == "input" and key == "udp dport" and value == port and port:
            yield f"UDP port {port}"


def _may_accept(expressions: list[Any], hook: str, interface: str) -> bool:
    """Whether a rule accepts, or leads elsewhere, without naming another interface."""
    verdicts = {key for each in expressions if isinstance(each, dict) for key in each}
    if not verdicts & {"accept", "jump", "goto", "vmap", "queue"}:
        return False
    name = "iifname" if hook == "input" else "oifname"
    matches = dict(_matches(expressions))
    if name in matches:
        value = str(matches[name])
        return value == interface or (value.endswith("*") and interface.startswith(value[:-1]))
    return not matches or bool(verdicts & {"jump", "goto", "vmap", "queue"})


def _matches(expressions: list[Any]) -> Iterator[tuple[str, Any]]:
    for each in expressions:
        match = each.get("match") if isinstance(each, dict) else None
        if not isinstance(match, dict):
            continue
        left, right = match.get("left"), match.get("right")
        if isinstance(left, dict) and isinstance(meta := left.get("meta"), dict):
            yield str(meta.get("key")), right
        elif isinstance(left, dict) and isinstance(payload := left.get("payload"), dict):
            yield f"{payload.get('protocol')} {payload.get('field')}", right
        else:
            yield "other", None


def _place(item: dict[str, Any], name: str) -> tuple[str, str, str]:
    return str(item.get("family")), str(item.get("table")), str(item.get(name))
