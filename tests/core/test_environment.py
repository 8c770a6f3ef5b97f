"""A variable that begins as ours do and that nothing reads is an error; others' words in the environment are not."""

import attrs
import pytest

from meshloom.config import key
from meshloom.config.environment import unread
from meshloom.errors import ConfigError
from meshloom.service import read_setup

KNOWN = ("MESHLOOM_LISTEN", "MESHLOOM_TRANSPORT_BACKENDS")


@attrs.frozen
class Config:
    listen: str = key(default=":80", help="An address.")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("MESHLOOM_TRANSPORT_BACKEND", "did you mean MESHLOOM_TRANSPORT_BACKENDS?"),
        ("MESHLOOM_LISTEN_", "did you mean MESHLOOM_LISTEN?"),
        ("MESHLOOM_SOMETHING_ELSE_ENTIRELY", "take it away"),
        ("MESHLOOM_", "take it away"),
    ],
)
def test_the_sentence_names_the_variable_and_the_nearest_one(name, fix):
    (said,) = unread({name: "x"}, KNOWN, {})
    assert said.startswith(f"{name}: nothing reads this variable; ")
    assert fix in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESHLOOM_LISTEN", ":80"),
        ("PATH", "/bin"),
        ("_MESHLOOM_COMPLETE", "bash_source"),
        ("MESHLOOM_INTERFACE_NAME", "of the agent, while a server starts"),
        ("MESHLOOM_PATIENCE", "of the project's tests"),
        ("MESHLOOM_NETBIRD_CLIENT", "/opt/netbird"),
        ("MESHLOOM_SERVER_SERVICE_HOST", "of Kubernetes"),
        ("MESHLOOM_SERVICE_PORT_HTTP", "80"),
        ("MESHLOOM_PORT", "tcp://10.0.0.1:80"),
        ("MESHLOOM_SERVER_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("MESHLOOM_OF_THE_FILE", "named by a secret"),
    ],
)
def test_what_somebody_reads_or_somebody_else_set_is_tolerated(name, value):
    assert unread({name: value}, KNOWN, {"relay": {"secret": {"env": "MESHLOOM_OF_THE_FILE"}}}) == []


def test_a_program_does_not_start_with_one_and_names_all_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        read_setup(Config, (), environment={"MESHLOOM_LISTENN": ":81", "MESHLOOM_LOG_LEVLE": "debug"})
    assert len(caught.value.problems) == 2
    assert read_setup(Config, (), environment={"MESHLOOM_LISTEN": ":81"}).config.listen == ":81"
