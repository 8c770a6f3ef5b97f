"""Every exception that Meshloom raises on purpose.

::

    MeshError
    ├── ConfigError                 the configuration names something that cannot be
    │   ├── UnknownBackend          ``backend = "..."`` names nothing installed
    │   ├── BackendUnavailable      no installed backend can run on this host
    │   └── DuplicateBackend        two plugins offer the same name
    ├── PluginError                 a plugin does not follow its hook's specification
    ├── ProtocolError               bytes from the network are not what the protocol says
    ├── StoreError
    │   ├── NotFound                no entity of that kind has the id
    │   ├── Conflict                the write breaks a constraint (unique, foreign key)
    │   └── StoreUnavailable        the store cannot be reached or written: disk full, locked, gone
    ├── TunnelError                 the WireGuard device cannot be made or changed
    ├── TransportError              a relay cannot be reached by a transport
    └── BusError                    another instance cannot be told

Data are attributes; ``str()`` is a sentence that names the key or thing, the value and what to do.
"""

import os
import re
from collections.abc import Mapping, Sequence


class MeshError(Exception):
    """Root of the tree; never raised itself."""


class ConfigError(MeshError):
    """The configuration names something that cannot be.

    Args:
        problems: One sentence for each problem, each naming its key.
        source: Where the configuration came from, usually a file's path.
    """

    def __init__(self, *problems: str, source: str = "") -> None:
        super().__init__(*problems)
        self.problems = problems
        self.source = source

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each problem with its source; a line break within one belongs to what was quoted."""
        where = f"{self.source}: " if self.source else ""
        return tuple(f"{where}{problem}" for problem in self.problems)


class UnknownBackend(ConfigError):
    """``backend = "..."`` names nothing installed."""

    def __init__(self, kind: str, name: str, installed: Sequence[str]) -> None:
        listed = ", ".join(sorted(installed)) or "none"
        super().__init__(f"{kind}.backend = {name!r}: no such backend; installed: {listed}")
        self.kind, self.name, self.installed = kind, name, tuple(installed)


class BackendUnavailable(ConfigError):
    """No installed backend of a kind can run on this host; ``reasons`` has each one's own objection."""

    def __init__(self, kind: str, reasons: Mapping[str, str]) -> None:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "none is installed"
        super().__init__(f"{kind}.backend = 'auto': no backend can run here ({listed})")
        self.kind, self.reasons = kind, dict(reasons)


class DuplicateBackend(ConfigError):
    """Two plugins offer the same name for one kind."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind} backend {name!r} is offered by two plugins: uninstall or disable one of them")
        self.kind, self.name = kind, name


class PluginError(MeshError):
    """A plugin does not follow its hook's specification."""


class ProtocolError(MeshError):
    """Bytes from the network are not what the protocol says they should be."""


class StoreError(MeshError):
    """Root of what a store raises."""


class NotFound(StoreError):
    """No entity of that kind has the id."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(kind, id)
        self.kind, self.id = kind, id

    def __str__(self) -> str:
        return f"{self.kind}: {self.id} not found"


class Conflict(StoreError):
    """The write breaks a constraint: a unique field is taken, or a reference points nowhere."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written: disk full, locked, gone."""


class TunnelError(MeshError):
    """The WireGuard device cannot be made, taken over or changed."""


class TransportError(MeshError):
    """A relay cannot be reached by a transport: no route, refused, a certificate that is not trusted."""


class BusError(MeshError):
    """Another instance of the service cannot be told."""


_NUMBERED = re.compile(r"\[Errno (\d{1,9})\]", re.IGNORECASE)

UNEXPECTED = "an unexpected fault; the log tells more"


def words_of(error: BaseException) -> str:
    """Returns why something failed, fit for a sentence: never a tuple, the name of a class or the number of an error.

    Errors of the system become the system's own words, with the file where there is one.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(words_of(each) for each in error.exceptions))
    number = getattr(error, "errno", None) or getattr(error, "code", None)  # libraries for netlink call it their code
    if isinstance(error, OSError):
        said = _words_of_system(error)
        file = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"{file}{said}" if said else "it took too long" if isinstance(error, TimeoutError) else UNEXPECTED
    if isinstance(number, int) and error.args[:1] == (number,):
        return os.strerror(number)
    return str(error) or UNEXPECTED


def _words_of_system(error: OSError) -> str:
    """Returns the system's own words: asyncio adds tuples of addresses, and makes one text of several errors."""
    number, said = error.errno, error.strerror or ""
    if number is not None and number > 0 and (not said or "('" in said):
        return os.strerror(number)
    said = said or str(error)
    several = [os.strerror(int(each)) for each in _NUMBERED.findall(said)]
    return "; ".join(dict.fromkeys(several)) or said
