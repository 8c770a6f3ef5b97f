"""The daemon behind the command line: takes it up and down, and keeps it up."""

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.config import Chosen
from meshloom.errors import MeshError, TunnelError, words_of
from meshloom.rpc import management_pb2 as management
from meshloom.tunnel import Tunnel, TunnelContext
from meshloom_agent.backoff import Backoff
from meshloom_agent.channel import parse_url
from meshloom_agent.engine import Engine
from meshloom_agent.facts import system_meta, wants_ipv6
from meshloom_agent.files import AgentSettings, StateDir, StateError
from meshloom_agent.management_client import ManagementClient, canonical_setup_key
from meshloom_agent.management_errors import (
    LoginDenied,
    ManagementRefuses,
    ManagementUnreachable,
    ServerKeyChanged,
    how_to_join,
)
from meshloom_agent.outage import Outage
from meshloom_agent.path_settings import in_environment, mesh_options, relay_transports
from meshloom_agent.relays import NamedTransport
from meshloom_agent.report import CONNECTED, IDLE, NEEDS_LOGIN, PeerReport, Report
from meshloom_agent.server_identity import ServerKeys

_log = logging.getLogger(__name__)

SETTLING = 0.01
ASK_AGAIN, ASK_WITHIN = 10.0, 3.0
"""Seconds between two questions whether management knows a machine that is down, and for the answer to one."""


class Daemon:
    """One agent. Enter :meth:`running` before anything else."""

    def __init__(
        self,
        files: StateDir,
        tunnel: Chosen[TunnelContext, Tunnel],
        extra_roots: bytes = b"",
        transports: Sequence[NamedTransport] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.files = files
        self.settings = files.settings()
        self.report = Report(IDLE if self.settings.management_url else NEEDS_LOGIN)
        self._servers = ServerKeys(files)
        self._tunnel, self._roots, self._transports = tunnel, extra_roots, transports
        self._environment = environment
        self._engine: Engine | None = None
        self._outage = Outage("the tunnel", _log)
        self._scope: anyio.CancelScope | None = None
        self._ended = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._first: management.LoginResponse | None = None
        self._asked = float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be there; go up at once if it was up when it last ended."""
        async with anyio.create_task_group() as self._tasks:
            if self.settings.up:
                await self.up()
            yield
            await self.pause()

    @property
    def extra_roots(self) -> bytes:
        """Certificates (PEM) that it trusts besides the system's."""
        return self._roots

    @property
    def failure(self) -> str:
        """Why it cannot be up, until it is."""
        return self.report.trouble

    @property
    def is_up(self) -> bool:
        """Whether it is up, or trying to be."""
        return self._scope is not None

    async def login(
        self,
        settings: AgentSettings,
        setup_key: str,
        preshared_key: str | None = None,
        *,
        accept_server_key: bool = False,
    ) -> bool:
        """Let management know this machine, with a setup key the first time; then take the settings over.

        Returns whether it joined by that. Where management is away and all is as it was, the last map will do, and
        this is no failure.

        Args:
            settings: Those to take over.
            setup_key: The key to join with; empty where this machine is known.
            preshared_key: The symmetric key from now on; None where the one that is there stays.
            accept_server_key: Whether the user accepts the key that the server shows now, and maps of any serial.

        Raises:
            ConfigError: The URL or the preshared key is none.
            LoginDenied: Management refuses.
            ManagementUnreachable: It does not answer.
            StateError: The settings cannot be written.
        """
        key = canonical_setup_key(setup_key) if setup_key else ""
        changed = settings != self.settings or preshared_key is not None
        try:
            first, joined = await self._introduce(settings, key, accept_server_key=accept_server_key)
        except LoginDenied as denied:
            if key:
                raise
            if not self.is_up:
                self.report.state = NEEDS_LOGIN
            raise how_to_join(denied, was_member=self.files.last_map() is not None) from None
        except ManagementRefuses:
            raise
        except ManagementUnreachable as error:
            if changed or accept_server_key or self.files.last_map() is None:
                raise
            _log.warning("%s: going on with the last network map", error)
            return False
        await self._take_over(settings, preshared_key, first, begins_anew=joined or accept_server_key)
        return joined

    async def _take_over(
        self,
        settings: AgentSettings,
        preshared_key: str | None,
        first: management.LoginResponse,
        *,
        begins_anew: bool,
    ) -> None:
        """Goes on with other settings after a login; the maps of another account begin to count anew."""
        changed = settings != self.settings or preshared_key is not None
        if preshared_key is not None:  # what cannot be written changes nothing
            self.files.keep_preshared_key(preshared_key)
        if settings != self.settings:
            self.files.keep_settings(settings)
        if not _same_server(settings, self.settings):
            self.files.forget_map()
        was_up = self.is_up
        if changed:
            await self.pause()
        if begins_anew:
            self.files.restart_serials()
        if self._engine is not None:
            self._engine.ask_soon(another_account=begins_anew)
        self._first = None if self.is_up else first
        self.settings = settings
        if was_up:
            await self.up()
        elif self.report.state == NEEDS_LOGIN:
            self.report = self.report.renewed()

    async def _introduce(
        self, settings: AgentSettings, key: str, *, accept_server_key: bool
    ) -> tuple[management.LoginResponse, bool]:
        """Logs in; tells also whether this was only possible with the setup key."""
        address = parse_url(settings.management_url)
        identity = self._servers.at(address, accept=accept_server_key)
        client = ManagementClient(address, self.files.key(), self._roots, identity)
        meta = await system_meta(settings.hostname, ipv6=wants_ipv6(settings))
        try:
            try:
                return await client.login(meta, self.files.ssh_key()), False
            except ServerKeyChanged:
                raise
            except (LoginDenied, ManagementRefuses):
                if not key:
                    raise
                return await client.login(meta, self.files.ssh_key(), key), True
        finally:
            await client.close()

    async def up(self) -> None:
        """Be connected from now on, also after a restart; does not wait for it."""
        if self._scope is not None or self._tasks is None:
            return
        self.report.failure = ""
        self._keep_up(up=True)
        self._ended = anyio.Event()
        self._scope = anyio.CancelScope()
        self._tasks.start_soon(self._supervise, self._scope)

    async def settled(self) -> None:
        """Return when it is connected, or cannot be (see ``failure``)."""
        while self.is_up and self.report.state != CONNECTED and not self.failure:  # noqa: ASYNC110 - only `up` waits
            await anyio.sleep(SETTLING)

    async def down(self) -> None:
        """Be disconnected, and stay so after a restart."""
        await self.pause()
        self._keep_up(up=False)

    async def pause(self) -> None:
        """Take the tunnel away; whether it shall be up is not changed."""
        if self._scope is not None:
            self._scope.cancel()
            await self._ended.wait()

    async def log_out(self, *, local: bool = False) -> None:
        """Leave the account: management forgets this machine, and then this machine the account.

        Args:
            local: Whether only this machine forgets, without asking management.

        Raises:
            ManagementUnreachable: Management may still know this machine; nothing has changed here.
        """
        if self.settings.management_url and not local:
            await self._leave()
        await self.down()
        self.files.forget_account()
        self.report = self.report.renewed(NEEDS_LOGIN)

    async def _leave(self) -> None:
        address = parse_url(self.settings.management_url)
        client = ManagementClient(address, self.files.key(), self._roots, self._servers.at(address))
        try:
            await client.logout()
        except (ManagementUnreachable, LoginDenied) as error:
            raise ManagementUnreachable(
                f"{error}: this machine may still be known there, and nothing has changed here; to forget the account"
                " on this machine alone: meshloom logout --local"
            ) from error
        finally:
            await client.close()

    def refusal(self, address: str) -> str:
        """Returns why no server that management names may be at an address; empty where one may."""
        return self._engine.refusal(address) if self._engine is not None else ""

    async def ask_whether_known(self) -> None:
        """Asks management whether it knows this machine, while it is down: while it is up, the engine asks."""
        now = anyio.current_time()
        if self.is_up or not self.settings.management_url or now - self._asked < ASK_AGAIN:
            return
        self._asked, before = now, self.report
        with anyio.move_on_after(ASK_WITHIN):
            try:
                await self._introduce(self.settings, "", accept_server_key=False)
                known = IDLE, ""
            except LoginDenied as denied:
                known = NEEDS_LOGIN, f"management does not know this machine: {denied}"
            except ManagementUnreachable:
                return
            if self.report is before and not self.is_up:
                self.report.state, self.report.failure = known

    async def look(self) -> None:
        """Brings the report up to date with the host, while it is up."""
        if self._engine is not None:
            await self._engine.look()

    async def peers(self) -> list[PeerReport]:
        """The peers, while it is up."""
        return await self._engine.peers() if self._engine is not None else []

    async def _supervise(self, scope: anyio.CancelScope) -> None:
        backoff = Backoff(first=0.5)
        try:
            with scope:
                while True:
                    try:
                        await self._run_once()
                    except* (MeshError, OSError) as group:
                        self._outage.failed(self._failed(group, backoff), anyio.current_time())
                    except* Exception as group:  # a fault of ours must not take the daemon down  # noqa: BLE001
                        _log.exception("starting anew after a fault: %s", self._failed(group, backoff))
                    await anyio.sleep(backoff.next())
        finally:
            self._scope, self._engine = None, None
            self.report = self.report.renewed()
            self._ended.set()

    def _failed(self, group: BaseExceptionGroup[Exception], backoff: Backoff) -> str:
        if not self.report.failure:
            backoff.reset()  # it had been connected since the last failure
            self._outage = Outage("the tunnel", _log)
        error = _first(group)
        self.report.counters.failures += 1
        self.report.failure = words_of(error)
        return self.report.failure

    async def _run_once(self) -> None:
        self.report = self.report.renewed(failure=self.report.failure)
        first, self._first = self._first, None
        settings = in_environment(self.settings, self._environment)
        self._engine = Engine(
            self.files,
            settings,
            self._tunnel,
            self.report,
            extra_roots=self._roots,
            transports=relay_transports(self._transports, settings.relay_transport),
            options=mesh_options(settings, self._environment),
            servers=self._servers,
        )
        try:
            await self._engine.run(first)
        finally:
            self._engine = None
        raise TunnelError("the engine ended")

    def _keep_up(self, *, up: bool) -> None:
        if self.settings.up is not up:
            self.settings = attrs.evolve(self.settings, up=up)
            try:
                self.files.keep_settings(self.settings)
            except StateError as error:
                _log.warning("%s: after a restart this is not remembered", error)


def _same_server(one: AgentSettings, other: AgentSettings) -> bool:
    """Tells whether both settings have the same server, however its URL is written; without one there is none."""
    if one.management_url == other.management_url or not other.management_url:
        return one.management_url == other.management_url
    return parse_url(one.management_url) == parse_url(other.management_url)


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
