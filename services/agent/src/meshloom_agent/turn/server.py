"""A TURN server as management tells of it."""

import attrs


@attrs.frozen
class TurnServer:
    """One server, and what it knows us by.

    Args:
        transport: ``udp`` or ``tcp``, from here to the server.
        tls: Over TLS; only with ``tcp``.
    """

    host: str
    port: int
    transport: str = "udp"
    tls: bool = False
    user: str = ""
    password: str = attrs.field(default="", repr=False)

    @property
    def uri(self) -> str:
        """As RFC 7065 writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'turns' if self.tls else 'turn'}:{host}:{self.port}?transport={self.transport}"
