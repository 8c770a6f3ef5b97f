"""What the daemon is made of, from parts that are open already."""

from collections.abc import Mapping, Sequence

from dependency_injector import containers, providers

from meshloom.config import Chosen
from meshloom.tunnel import Tunnel, TunnelContext
from meshloom_agent.daemon import Daemon
from meshloom_agent.files import StateDir
from meshloom_agent.relays import NamedTransport


class AgentContainer(containers.DeclarativeContainer):
    """Constructors only; nothing here opens or closes anything."""

    files: providers.Provider[StateDir] = providers.Dependency()
    tunnel: providers.Provider[Chosen[TunnelContext, Tunnel]] = providers.Dependency()
    extra_roots: providers.Provider[bytes] = providers.Dependency()
    transports: providers.Provider[Sequence[NamedTransport]] = providers.Dependency()
    environment: providers.Provider[Mapping[str, str]] = providers.Dependency()

    daemon = providers.Singleton(Daemon, files, tunnel, extra_roots, transports, environment)
