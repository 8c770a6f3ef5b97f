"""Writes the newest map to disk beside everything else: a slow or full disk holds nothing up."""

import anyio
import anyio.to_thread

from meshloom.rpc import management_pb2 as pb
from meshloom_agent.files import StateDir


class MapKeeper:
    """Run :meth:`run` in a task group; what is told meanwhile is written once."""

    def __init__(self, files: StateDir) -> None:
        self._files = files
        self._newest: pb.SyncResponse | None = None
        self._news = anyio.Event()

    def keep(self, response: pb.SyncResponse) -> None:
        """Write it soon."""
        self._newest = response
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled, and then what is left."""
        try:
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                await self._write()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            await anyio.to_thread.run_sync(self._files.keep_map, newest.SerializeToString())
