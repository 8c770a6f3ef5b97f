"""Durations of an ICE session."""

import attrs


@attrs.frozen
class Timers:
    """Durations in seconds.

    Args:
        pace: Between two checks of one session (Ta, RFC 8445 section 14.2).
        repetition: Until a check is first repeated, at least until it is usually answered; doubled each time up to
            ``longest_repetition``.
        tries: Checks without an answer after which a pair has failed.
        doubt: Checks of the chosen pair without an answer after which others are tried again.
        patience: How long a working pair waits to be chosen while a better one may still work.
        relayed_patience: The same for one that goes through a relay of either side.
        keepalive: Between two checks of the chosen pair.
        disconnected: Without a sign of life until the path counts as interrupted; two of its round trips more.
        failed: Thereafter until it counts as lost; and, before any pair works, for all checks together.
    """

    pace: float = 0.02
    repetition: float = 0.1
    longest_repetition: float = 0.8
    tries: int = 7
    doubt: int = 4
    patience: float = 0.06
    relayed_patience: float = 1.0
    keepalive: float = 3.0
    disconnected: float = 4.0
    failed: float = 6.0
