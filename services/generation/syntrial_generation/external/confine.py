"""Takes from a process what it was not given, and becomes the program: Linux, without any privilege.

    python confine.py RULES PROGRAM ARGUMENT…

RULES is JSON: `read` and `write` list paths, `disk` is the largest file in bytes. Landlock (kernel 5.13) keeps all
other files from it, and the memory and environment of all other processes; a seccomp filter lets it open sockets of
this machine's own kind alone (AF_UNIX). Children inherit both. Where the kernel has one of them not, it goes on
without: `can_confine` says beforehand which there are. Nothing of Syntrial is imported: it runs before each program.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The system calls of Landlock, the same on every architecture."""
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READING = EXECUTE | READ_FILE | READ_DIR
RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1}
RIGHTS = (1 << 15) - 1
"""From version 3 on, those of files; ioctl on devices stays free, a GPU needs it."""
SCOPED_VERSION, SCOPES = 6, 3
"""From this version on: no signal to processes outside, and no abstract socket of theirs."""
ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""By machine: its number for seccomp, and the system call `socket`."""
IO_URING_SETUP = 425
NETWORK_DOWN = 100
"""errno ENETDOWN: what a socket of the network fails with, which nothing else in a program does."""

libc = ctypes.CDLL(None, use_errno=True)


def can_confine() -> "tuple[bool, bool]":
    """Whether the kernel keeps files, and sockets, from a process that asks for it."""
    if not sys.platform.startswith("linux"):
        return False, False
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    # A mode that is known is told from one that is not by the missing filter: EFAULT.
    libc.prctl(PR_SET_SECCOMP, 2, None, 0, 0)
    return version > 0, platform.machine() in ARCHITECTURES and ctypes.get_errno() == 14


def keep_files(read: "list[str]", write: "list[str]") -> None:
    """Leaves the process these paths, to read and run or to change too, and no other; what does not exist is passed."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version <= 0:
        return
    rights = RIGHTS_BY_VERSION.get(version, RIGHTS)
    attributes = struct.pack("<QQQ", rights, 0, SCOPES) if version >= SCOPED_VERSION else struct.pack("<Q", rights)
    rules = _checked(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    for paths, allowed in ((read, READING), (write, rights)):
        for path in paths:
            try:
                file = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            granted = (allowed if os.path.isdir(path) else allowed & OF_A_FILE) & rights  # noqa: PTH112
            _checked(libc.syscall(ADD_RULE, rules, 1, struct.pack("<Qi", granted, file), 0))
            os.close(file)
    _checked(libc.syscall(RESTRICT_SELF, rules, 0))
    os.close(rules)


def keep_network() -> None:
    """Lets the process open sockets of AF_UNIX and AF_NETLINK alone."""
    if platform.machine() not in ARCHITECTURES:
        return
    architecture, socket = ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | NETWORK_DOWN, 0x00050000 | 38
    lines = [
        (load, 0, 0, 4),
        (equal, 0, 9, architecture),
        (load, 0, 0, 0),
        # The numbers of x32, another way to the same calls.
        (at_least, 7, 0, 0x40000000),
        (equal, 6, 0, IO_URING_SETUP),
        (equal, 0, 4, socket),
        (load, 0, 0, 16),
        (equal, 2, 0, 1),
        (equal, 1, 0, 16),
        (give, 0, 0, refuse),
        (give, 0, 0, allow),
        (give, 0, 0, unknown),
    ]
    code = b"".join(struct.pack("<HBBI", *line) for line in lines)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(lines), ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, 2, program, 0, 0):
        number = ctypes.get_errno()
        if number != 22:
            raise OSError(number, os.strerror(number))


def drop_capabilities() -> None:
    """Gives up what root may do: with it, the memory of other processes can be read all the same."""
    header, nothing = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    _checked(libc.capset(header, nothing))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main() -> None:
    """Confines this process and runs the program in it."""
    rules = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (rules["disk"], rules["disk"]))
    if sys.platform.startswith("linux"):
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        drop_capabilities()
        keep_files(rules["read"], rules["write"])
        keep_network()
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - there is no shell


if __name__ == "__main__":
    main()
