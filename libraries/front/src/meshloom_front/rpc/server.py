"""The gRPC server: its methods and all its connections."""

import asyncio
from collections.abc import Iterable

from meshloom_front.callers import Caller, Callers
from meshloom_front.rpc.call import Methods
from meshloom_front.rpc.connection import Connection


class RPC:
    """Makes the protocol of each connection; its length is the number of those that are open.

    Attributes:
        callers: Whom the connections belong to; a port that serves more than gRPC puts its own here.
    """

    def __init__(self, services: Iterable[Methods], callers: Callers | None = None) -> None:
        self.callers = Callers() if callers is None else callers  # none is open yet: it is empty, which is false
        self.methods: Methods = {path: method for service in services for path, method in service.items()}
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self.connections)

    def __call__(self, caller: Caller | None = None) -> Connection:
        """The protocol of a new connection, which may have been counted already."""
        return Connection(self, caller)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and close; those that are open have *grace* seconds to end by themselves."""
        for connection in list(self.connections):
            connection.go_away()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for connection in list(self.connections):
            connection.close()
