"""What is installed and what would run here: the data and the text of ``meshloom plugins`` and ``config check``."""

from collections.abc import Callable, Collection, Iterable

import attrs

from meshloom.errors import ConfigError, MeshError
from meshloom.plugins import Plugins
from meshloom.text import printable


@attrs.frozen
class Offer:
    """One installed backend.

    Args:
        objection: Why it cannot run on this host; empty where it can.
        chosen: Whether ``backend = "auto"`` takes it.
        wire: What it speaks over the network; its name where it is the only one.
    """

    kind: str
    name: str
    objection: str
    chosen: bool
    wire: str = ""


def offers(plugins: Plugins) -> list[Offer]:
    """Every backend of every kind, in the order in which ``auto`` tries them. Asks each one's probe once."""
    found = []
    for kind, backends in plugins.kinds().items():
        is_chosen = False
        for backend in backends:
            objection = backend.probe() or ""
            is_first = not objection and not is_chosen
            found.append(Offer(kind, backend.name, objection, is_first, backend.wire or backend.name))
            is_chosen = is_chosen or not objection
    return found


def describe_offers(found: Iterable[Offer], program: str, kinds: Collection[str]) -> str:
    """A table for a terminal, one line for each backend.

    Args:
        found: What is installed.
        program: Name of the program that lists it.
        kinds: Those that this program uses; of the others it says that it does not.
    """
    rows = [("KIND", "BACKEND", "AUTO", "RUNS HERE")]
    for each in found:
        is_used = each.kind in kinds
        chosen = "chosen" if each.chosen and is_used else ""
        rows.append((each.kind, each.name, chosen, _verdict(each) if is_used else f"not used by {program}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        printable("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
        for row in rows
    ]
    return "\n".join(lines)


def _verdict(offer: Offer) -> str:
    return f"no: {offer.objection}" if offer.objection else "yes"


def problems_of(read: Callable[[], object]) -> list[str]:
    """Returns what is wrong with a configuration, a sentence each; nothing where a program would start with it.

    Args:
        read: Reads and checks it exactly as the program's start does.
    """
    try:
        read()
    except MeshError as error:
        return list(error.sentences) if isinstance(error, ConfigError) else [str(error)]
    return []
