"""Run a command and write what it took as JSON: `python -I -S launcher.py DESCRIPTOR COMMAND…`.

A process that is started by a large one is charged with the memory of that one until it has executed its program. So
the measured command is started by this small process, which imports nothing large.
"""

import json
import os
import sys
import time

report = int(sys.argv[1])
os.set_inheritable(report, False)
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
taken = {
    "wall": wall,
    "processor": usage.ru_utime + usage.ru_stime,
    "memory": usage.ru_maxrss * 1024,
    "answer": code,
}
os.write(report, json.dumps(taken).encode())
