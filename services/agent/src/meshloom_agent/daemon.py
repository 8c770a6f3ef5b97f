"""The daemon behind the command line: takes it up and down, and keeps it up."""

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import attrs
from anyio.abc import TaskGroup

from meshloom.config import Chosen
from meshloom.errors import MeshError, TunnelError
from meshloom.rpc import management_pb2 as management
from meshloom.tunnel import Tunnel, TunnelContext
from meshloom_agent.backoff import Backoff
from meshloom_agent.channel import parse_url
from meshloom_agent.engine import Engine
from meshloom_agent.facts import system_meta
from meshloom_agent.files import AgentSettings, StateDir, StateError
from meshloom_agent.management_client import (
    LoginDenied,
    ManagementClient,
    ManagementRefuses,
    ManagementUnreachable,
    canonical_setup_key,
)
from meshloom_agent.path_settings import in_environment, mesh_options, relay_transports
from meshloom_agent.relays import NamedTransport
from meshloom_agent.report import CONNECTED, NEEDS_LOGIN, PeerReport, Report

_log = logging.getLogger(__name__)

SETTLING = 0.01


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
        self.report = Report()
        self.settings = files.settings()
        self._tunnel, self._roots, self._transports = tunnel, extra_roots, transports
        self._environment = environment
        self._engine: Engine | None = None
        self._scope: anyio.CancelScope | None = None
        self._ended = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._first: management.LoginResponse | None = None

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
        return self.report.failure

    @property
    def is_up(self) -> bool:
        """Whether it is up, or trying to be."""
        return self._scope is not None

    async def login(self, settings: AgentSettings, setup_key: str, preshared_key: str | None = None) -> None:
        """Let management know this machine, with a setup key the first time; then take the settings over.

        Where management is away and all is as it was, the last map will do, and this is no failure.

        Raises:
            ConfigError: The URL or the preshared key is none.
            LoginDenied: Management refuses.
            ManagementUnreachable: It does not answer.
            StateError: The settings cannot be written.
        """
        key = canonical_setup_key(setup_key) if setup_key else ""
        changed = settings != self.settings or preshared_key is not None
        try:
            first = await self._introduce(settings, key)
        except LoginDenied:
            if not key:
                self.report.state = NEEDS_LOGIN
            raise
        except ManagementRefuses:
            raise
        except ManagementUnreachable as error:
            if changed or self.files.last_map() is None:
                raise
            _log.warning("%s: going on with the last network map", error)
            return
        if preshared_key is not None:  # what cannot be written changes nothing
            self.files.keep_preshared_key(preshared_key)
        if settings != self.settings:
            self.files.keep_settings(settings)
        if settings.management_url != self.settings.management_url:
            self.files.forget_map()
        was_up = self.is_up
        if changed:
            await self.pause()
        self._first = None if self.is_up else first
        self.settings = settings
        if was_up:
            await self.up()

    async def _introduce(self, settings: AgentSettings, key: str) -> management.LoginResponse:
        client = ManagementClient(parse_url(settings.management_url), self.files.key(), self._roots)
        meta = await system_meta(settings.hostname, ipv6=settings.ipv6)
        try:
            try:
                return await client.login(meta, self.files.ssh_key())
            except (LoginDenied, ManagementRefuses):
                if not key:
                    raise
                return await client.login(meta, self.files.ssh_key(), key)
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

    async def log_out(self) -> None:
        """Leave the account: management forgets this machine."""
        if self.settings.management_url:
            client = ManagementClient(parse_url(self.settings.management_url), self.files.key(), self._roots)
            try:
                await client.logout()
            finally:
                await client.close()
        await self.down()
        self.files.forget_map()
        self.report = self.report.renewed(NEEDS_LOGIN)

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
                    except* LoginDenied as group:
                        said = str(_first(group))
                        _log.error("management no longer knows this machine: %s", said)
                        self.report = self.report.renewed(NEEDS_LOGIN, said)
                        self.files.forget_map()
                        self._keep_up(up=False)
                        scope.cancel()
                    except* (MeshError, OSError) as group:
                        _log.error("the tunnel cannot be kept: %s", self._failed(group, backoff))
                    except* Exception as group:  # a fault of ours must not take the daemon down  # noqa: BLE001
                        _log.exception("starting anew after a fault: %s", self._failed(group, backoff))
                    await anyio.sleep(backoff.next())
        finally:
            self._scope, self._engine = None, None
            if self.report.state != NEEDS_LOGIN:
                self.report = self.report.renewed()
            self._ended.set()

    def _failed(self, group: BaseExceptionGroup[Exception], backoff: Backoff) -> str:
        if not self.report.failure:
            backoff.reset()  # it had been connected since the last failure
        error = _first(group)
        self.report.counters.failures += 1
        self.report.failure = str(error) or repr(error)
        return self.report.failure

    async def _run_once(self) -> None:
        self.report = self.report.renewed(failure=self.failure)
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


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
