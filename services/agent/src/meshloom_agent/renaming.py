"""A host name that is given to a machine which is in the mesh already: it counts when a machine joins."""


def renaming(asked: str, fqdn: str) -> str:
    """Returns who can rename a machine, where it was asked to have another name; empty where it has that one.

    Args:
        asked: The host name that was given; empty where none was.
        fqdn: The machine's name in the mesh; empty where it has none yet.
    """
    label, wished = fqdn.partition(".")[0], asked.partition(".")[0].lower()
    if not wished or not label or label == wished or label.startswith(f"{wished}-"):
        return ""
    return (
        f"this machine stays {fqdn}: --hostname counts when a machine joins; who administers the mesh renames it"
        " there (PUT /api/peers/ID with another name)"
    )
