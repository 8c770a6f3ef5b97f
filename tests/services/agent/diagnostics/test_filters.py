"""Firewalls that drop what is the mesh's, in the words of ``nft -j list ruleset``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshloom_agent.diagnostics.filters import firewall_objections


def chain(name="input", policy="accept", table="filter"):
    return {"chain": {"family": "inet", "table": table, "name": name, "hook": name, "policy": policy}}


def rule(*expressions, chain="input", table="filter"):
    return {"rule": {"family": "inet", "table": table, "chain": chain, "expr": list(expressions)}}


def meta(key, value):
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": value}}


def payload(protocol, field, value, op="=="):
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}


def port(value, op="==", field="dport"):
    return payload("udp", field, value, op)


ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
DROP, ACCEPT = {"drop": None}, {"accept": None}


@pytest.mark.parametrize(
    ("ruleset", "said"),
    [
        ([], []),
        ([chain()], []),
        ([chain(), rule(meta("iifname", "ml0"), DROP)], ["chain input of nft table inet filter drops all of ml0"]),
        ([chain(), rule(meta("iifname", "ml0"), ACCEPT), rule(meta("iifname", "ml0"), DROP)], []),
        ([chain(), rule(meta("iifname", "eth0"), DROP)], []),
        ([chain("output"), rule(meta("l4proto", "udp"), {"reject": {}}, chain="output")], ["drops all UDP"]),
        ([chain(), rule(meta("l4proto", "udp"), meta("iifname", "eth9"), DROP)], []),
        ([chain(), rule(port(51820), DROP)], ["drops UDP port 51820"]),
        ([chain(), rule(port(53), DROP)], []),
        ([chain("output"), rule(payload("ip", "protocol", "udp"), DROP, chain="output")], ["drops all UDP"]),
        ([chain("output"), rule(payload("ip6", "nexthdr", 17), DROP, chain="output")], ["drops all UDP"]),
        ([chain("output"), rule(port(53, "!="), DROP, chain="output")], ["drops most of UDP"]),
        ([chain("output"), rule(port({"range": [1024, 65535]}), DROP, chain="output")], ["drops most of UDP"]),
        ([chain("output"), rule(port({"set": [53, {"range": [1, 9]}]}), DROP, chain="output")], []),
        ([chain("output"), rule(port(51820, field="sport"), DROP, chain="output")], ["drops UDP port 51820"]),
        ([chain("output"), rule(port(51820), DROP, chain="output")], []),
        ([chain(), rule({"match": {"op": "!=", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}, DROP)], []),
        ([chain(), rule(port({"range": [51000, 52000]}), meta("l4proto", "udp"), DROP)], ["drops UDP port 51820"]),
        ([chain(), rule(meta("l4proto", "udp"), {"counter": {"packets": 1}}, DROP)], ["drops all UDP"]),
        ([chain(), rule(meta("l4proto", "udp"), {"limit": {"rate": 9}}, DROP)], []),
        ([chain(), rule(meta("l4proto", "udp"), {"xt": None}, DROP)], []),
        ([chain(), rule(port(51820), ACCEPT), rule(meta("l4proto", "udp"), DROP)], []),
        ([chain(policy="drop"), rule(ESTABLISHED, ACCEPT)], ["none accepts ml0"]),
        ([chain(policy="drop"), rule(meta("iifname", "ml0"), ACCEPT)], []),
        ([chain(policy="drop"), rule(meta("iifname", "ml*"), ACCEPT)], []),
        ([chain(policy="drop"), rule(meta("iifname", "eth0"), ACCEPT)], ["none accepts ml0"]),
        ([chain(policy="drop"), rule(ACCEPT)], []),
        ([chain(policy="drop"), rule({"jump": {"target": "mine"}})], []),
        ([chain(policy="drop", table="meshloom")], []),
    ],
)
def test_what_is_in_the_way_is_named(ruleset, said):
    found = firewall_objections([{"metainfo": {}}, *ruleset], "ml0", 51820)
    assert len(found) == len(said)
    for each, part in zip(found, said, strict=True):
        assert part in each.text


@pytest.mark.parametrize(
    ("ruleset", "fix"),
    [
        (
            [chain("output", table="mine"), rule(meta("l4proto", "udp"), DROP, chain="output", table="mine")],
            "nft insert rule inet mine output udp sport 51820 accept",
        ),
        (
            [chain(table="raw"), rule(port(51820), DROP, table="raw")],
            "nft insert rule inet raw input udp dport 51820 accept",
        ),
        ([chain("output", policy="drop")], 'nft insert rule inet filter output oifname "ml0" accept'),
    ],
)
def test_the_fix_names_the_chain_that_is_in_the_way(ruleset, fix):
    assert [each.fix for each in firewall_objections(ruleset, "ml0", 51820)] == [fix]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "chain",
                    "rule",
                    "expr",
                    "hook",
                    "match",
                    "left",
                    "right",
                    "meta",
                    "key",
                    "drop",
                    "payload",
                    "range",
                    "set",
                    "op",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(st.lists(JSON, max_size=6))
def test_rules_that_are_not_understood_are_passed_over(ruleset):
    firewall_objections(ruleset, "ml0", 51820)
