"""What the management service is made of, from parts that are open already."""

from dependency_injector import containers, providers

from meshloom.model.keys import PrivateKey
from meshloom_management.accounts import Accounts
from meshloom_management.addresses import ServiceAddresses
from meshloom_management.api.application import application
from meshloom_management.api.config import ApiConfig
from meshloom_management.api.failures import Failures
from meshloom_management.local.requests import Desk
from meshloom_management.operations.setup import FirstSetup
from meshloom_management.presence import Presence
from meshloom_management.rpc import ManagementService, Refusals, SeenNonces
from meshloom_management.updates import Updates


class ManagementContainer(containers.DeclarativeContainer):
    """Constructors only; nothing here opens or closes anything."""

    accounts: providers.Provider[Accounts] = providers.Dependency()
    addresses: providers.Provider[ServiceAddresses] = providers.Dependency()
    api_config: providers.Provider[ApiConfig] = providers.Dependency()
    key: providers.Provider[PrivateKey] = providers.Dependency()
    dns_domain: providers.Provider[str] = providers.Dependency()
    failures: providers.Provider[Failures] = providers.Dependency()
    seen: providers.Provider[SeenNonces] = providers.Dependency()
    refusals: providers.Provider[Refusals] = providers.Dependency()

    presence = providers.Singleton(Presence, accounts)
    updates = providers.Singleton(Updates, accounts, addresses, dns_domain)
    service = providers.Singleton(ManagementService, key, accounts, updates, presence, seen=seen, refusals=refusals)
    setup = providers.Singleton(FirstSetup, accounts, api_config.provided.setup_secret, api_config.provided.hash_memory)
    api = providers.Singleton(application, accounts, api_config, failures=failures, setup=setup)
    desk = providers.Singleton(Desk, accounts, setup)
