"""What a stage's process does with the memory that it is done with."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from syntrial.rpc.main import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def work():
    whole = [bytearray(20 << 20) for _ in range(3)]
    for part in whole:
        part[::4096] = bytes(len(part) // 4096)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the kernel had to hand out again for the same work, ten times over."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries handle memory in their own ways")
def test_memory_of_large_arrays_is_used_again() -> None:
    assert faults("kept") < faults("as it comes") / 5
