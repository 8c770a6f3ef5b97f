"""An example for each command, shown below its options."""

import click

EXAMPLES = {
    "meshloom": "meshloom up --management-url https://mesh.example.net --setup-key KEY",
    "up": "meshloom up --management-url https://mesh.example.net --setup-key KEY",
    "login": "meshloom login --management-url https://mesh.example.net --setup-key-file /root/key",
    "down": "meshloom down",
    "logout": "meshloom logout",
    "version": "meshloom version",
    "plugins": "meshloom plugins",
    "config": "meshloom config check /etc/meshloom/agent.toml",
    "config check": "meshloom config check /etc/meshloom/agent.toml",
    "completion": "meshloom completion bash > /etc/bash_completion.d/meshloom",
    "status": "meshloom status --detail --filter-by-names desktop",
    "ping": "meshloom ping desktop --until-direct",
    "netcheck": "meshloom netcheck --management-url https://mesh.example.net",
    "doctor": "meshloom doctor",
    "debug": "meshloom debug bundle --anonymize",
    "debug bundle": "meshloom debug bundle --anonymize /root/fault.tar.gz",
    "debug log": "meshloom debug log level debug",
    "debug log level": "meshloom debug log level debug",
    "service": "meshloom service install",
    "service run": "meshloom service run --state-dir /var/lib/meshloom --log-level info",
    "service install": "meshloom service install --metrics 127.0.0.1:9091",
    "service uninstall": "meshloom service uninstall --purge",
    "service start": "meshloom service start",
    "service stop": "meshloom service stop",
    "service restart": "meshloom service restart",
    "service status": "meshloom service status",
}


def add_examples(program: click.Group) -> None:
    """Puts each command's example below its options."""
    _add(program, "meshloom")
    _add_below(program, "")


def _add_below(group: click.Group, path: str) -> None:
    for name, command in group.commands.items():
        _add(command, f"{path}{name}")
        if isinstance(command, click.Group):
            _add_below(command, f"{path}{name} ")


def _add(command: click.Command, path: str) -> None:
    if path in EXAMPLES:
        command.epilog = f"\b\nExample:\n  {EXAMPLES[path]}"
