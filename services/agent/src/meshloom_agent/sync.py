"""Keeps the connection with management: logs in, reads the stream of maps, asks again whenever that has failed.

Whatever management says or seems to say, nothing is forgotten here: only the user's ``logout`` does that. Where it does
not know this machine it is asked at long intervals, and the mesh goes on with the last map.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import anyio

from meshloom.rpc import management_pb2 as pb
from meshloom_agent.backoff import Backoff
from meshloom_agent.files import StateDir
from meshloom_agent.management_client import ManagementClient
from meshloom_agent.management_errors import (
    EndedCleanly,
    LoginDenied,
    ManagementUnreachable,
    Replaced,
    ServerKeyChanged,
)
from meshloom_agent.older_maps import BELIEVED_AFTER
from meshloom_agent.outage import Outage
from meshloom_agent.report import Report
from meshloom_agent.rivalry import PEACE, End, Rivalry

_log = logging.getLogger(__name__)

SERVER_KEY, RIVAL = "server key", "key"


def patience() -> Backoff:
    """Returns how long to wait for a management that does not know this machine: it rarely changes its mind."""
    return Backoff(first=60.0, longest=1200.0)


class ManagementLink:
    """The connection of one engine.

    Args:
        meta: Gathers what management is told of this machine.
        take: Called with each update, and whether its map may be older than the one before.
    """

    def __init__(
        self,
        client: ManagementClient,
        files: StateDir,
        report: Report,
        meta: Callable[[], Awaitable[pb.PeerSystemMeta]],
        take: Callable[[pb.SyncResponse, bool], None],
    ) -> None:
        self._client, self._files, self._report = client, files, report
        self._meta, self._take = meta, take
        self._backoff, self._patience, self._rivalry = Backoff(), patience(), Rivalry()
        self._outage = Outage(f"management at {client.address.url}", _log)
        self._works_since: float | None = None
        self._asked = anyio.Event()
        self._reading = anyio.CancelScope()
        self._again: asyncio.TimerHandle | None = None

    async def log_in(self) -> pb.LoginResponse:
        """Logs in; asks again until management answers and knows this machine."""
        while True:
            try:
                answer = await self._log_in()
            except (ManagementUnreachable, LoginDenied) as error:
                await self._wait_after(error)
            else:
                self._report.not_known = ""
                return answer

    async def run(self) -> None:
        """Reads updates for ever; the stream is opened again whenever it ends."""
        while True:
            try:
                self._works_since = None
                with anyio.CancelScope() as self._reading:
                    await self._read_at_peace()
                if self._reading.cancelled_caught:
                    continue
                error: Exception = EndedCleanly("the stream has ended")
            except ManagementUnreachable as away:
                error = away
            except LoginDenied:
                error = await self._denial()
            await self._wait_after(error)

    def ask_soon(self, *, reopen: bool) -> None:
        """Does not wait any longer for the next try: a login has just shown that management knows this machine.

        Args:
            reopen: Whether an open stream is closed and opened again, which brings a whole map.
        """
        self._report.not_known = ""
        self._report.progress()
        self._asked.set()
        if reopen:
            self._reading.cancel()

    async def _read_at_peace(self) -> None:
        """Reads; where that goes on for long, nobody else takes this machine's place any more."""
        calm = asyncio.get_running_loop().call_later(PEACE, self._report.refuse, RIVAL, ())
        try:
            await self._read()
        finally:
            calm.cancel()
            if self._again is not None:
                self._again.cancel()
                self._again = None

    async def _read(self) -> None:
        first = True
        async with aclosing(self._client.sync(await self._meta())) as updates:  # type: ignore[type-var]
            async for update in updates:
                report = self._report
                report.management.connected, report.management.error, report.not_known = True, "", ""
                report.refuse(SERVER_KEY, ())
                self._outage.back(anyio.current_time())
                self._backoff, self._patience = Backoff(), patience()
                self._works_since = self._works_since or anyio.current_time()
                refused = report.counters.refused_maps
                self._take(update, first and self._client.is_fresh)
                if report.counters.refused_maps > refused:
                    self._ask_again()
                first = first and not update.HasField("NetworkMap")

    def _ask_again(self) -> None:
        """A map was refused, and none may follow: another stream begins with a whole one, which may count by then."""
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(BELIEVED_AFTER, self._reading.cancel)

    async def _denial(self) -> Exception:
        """Returns what is wrong after the stream was refused: whether this machine is known is told by Login alone."""
        try:
            await self._log_in()
        except (ManagementUnreachable, LoginDenied) as error:
            return error
        return ManagementUnreachable("the stream was refused")

    async def _log_in(self) -> pb.LoginResponse:
        return await self._client.login(await self._meta(), self._files.ssh_key())

    def _next_wait(self, error: Exception) -> float:
        """Returns how long to wait: an end right after success is no success."""
        if self._works_since is None:
            return self._backoff.next()
        now, since, self._works_since = anyio.current_time(), self._works_since, None
        wait = self._rivalry.ended(now, now - since, self._end_of(error))
        self._report.refuse(RIVAL, (self._rivalry.words,) if self._rivalry.words else ())
        return wait

    def _end_of(self, error: Exception) -> End:
        if isinstance(error, Replaced):
            return End.REPLACED
        says_why = self._client.proves  # as only Meshloom's management does
        return End.CLEAN if isinstance(error, EndedCleanly) and not says_why else End.LOST

    async def _wait_after(self, error: Exception) -> None:
        report, why = self._report, str(error)
        report.counters.lost["management"] += report.management.connected
        report.management.connected, report.management.error = False, why
        report.refuse(SERVER_KEY, (why,) if isinstance(error, ServerKeyChanged) else ())
        if isinstance(error, LoginDenied):
            report.not_known, wait = why, self._patience.next()
            _log.error("management does not know this machine: %s; it is asked again in %.0f s", why, wait)
        else:
            wait = self._next_wait(error)
            self._outage.failed(why, anyio.current_time())
        report.progress()
        with anyio.move_on_after(wait):
            self._asked = anyio.Event()
            await self._asked.wait()
            self._backoff, self._patience = Backoff(), patience()
