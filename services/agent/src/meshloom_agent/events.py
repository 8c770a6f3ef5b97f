"""What the daemon's status tells in words: what it waits for, and what it warns of."""

from meshloom.rpc import daemon_pb2 as pb


def waiting(status: pb.StatusResponse) -> str:
    """Returns what the daemon waits for, or why it failed; empty where neither is so."""
    texts = [each.userMessage for each in status.fullStatus.events if each.severity != pb.SystemEvent.WARNING]
    return texts[-1] if texts else ""


def warnings(status: pb.StatusResponse) -> tuple[str, ...]:
    """Returns what a person should know: what management said and this machine does not do."""
    return tuple(each.userMessage for each in status.fullStatus.events if each.severity == pb.SystemEvent.WARNING)
