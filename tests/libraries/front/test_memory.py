"""Memory that large messages need is not fetched from the kernel each time."""

import subprocess
import sys

PROGRAM = """
import resource, sys
from meshloom_front.memory import keep_freed_memory
if "keep" in sys.argv:
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(times):
    for _ in range(times):
        one = bytes(650_000); two = one + b"x"; three = two + b"x"
work(20)
before = faults()
work(100)
print(faults() - before)
"""


def faults_of(*arguments):
    return int(subprocess.run([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, check=True).stdout)


def test_pages_are_mapped_once():
    assert faults_of("keep") < 100 < faults_of()


def test_what_a_server_keeps_is_passed_over_in_the_search_for_garbage():
    program = """
import gc
from meshloom_front.memory import pass_over_what_stays
kept = [[number] for number in range(50_000)]
pass_over_what_stays()
print(gc.get_freeze_count() > 50_000 > len(gc.get_objects()))
"""
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout == b"True\n"
