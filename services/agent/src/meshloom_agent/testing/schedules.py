"""Many random schedules, on many processors.

``python -m meshloom_agent.testing.schedules --count 10000`` runs ten thousand, ``--first 4711 --count 1`` one again:
a seed's schedule goes the same way each time. With ``--relays`` there are relays, and more that can go wrong.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from meshloom_agent.testing.relayed_schedule import RelayedSchedule
from meshloom_agent.testing.schedule import Schedule


def failure(seed: int) -> str | None:
    """What does not hold in the schedule of that seed; None where all does."""
    try:
        Schedule(seed).run()
    except AssertionError as error:
        return str(error)
    return None


def failure_with_relays(seed: int) -> str | None:
    """The same in a mesh that has relays."""
    try:
        RelayedSchedule(seed).run()
    except AssertionError as error:
        return str(error)
    return None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m meshloom_agent.testing.schedules", description="Run random schedules."
    )
    parser.add_argument("--count", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="seed of the first; the others follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--relays", action="store_true", help="in meshes that have relays")
    options = parser.parse_args()
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(options.processes) as pool:
        seeds = range(options.first, options.first + options.count)
        for done, what in enumerate(
            pool.map(failure_with_relays if options.relays else failure, seeds, chunksize=20), 1
        ):
            if what is not None:
                failed += 1
                _say(what)
            if done % 1000 == 0:
                _say(f"{done} schedules in {time.monotonic() - began:.0f} s, {failed} failed")
    _say(f"{options.count} schedules in {time.monotonic() - began:.0f} s, {failed} failed")
    sys.exit(bool(failed))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
