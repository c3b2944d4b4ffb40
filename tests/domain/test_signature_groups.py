"""Error output of real programs: which failures share a signature, and which do not."""

from __future__ import annotations

import pytest

from rekindle.domain.signatures import signature


def of(stderr: str, code: int = 1) -> str:
    return signature("exit", "", f"exit code {code}", "", stderr).digest


ONE = {
    "py file not found": (
        (
            'Traceback (most recent call last):\n  File "/a/1/x.py", line 3, in <module>\n    '
            "open('/data/run1/in.csv')\nFileNotFoundError: [Errno 2] No such file or directory: "
            "'/data/run1/in.csv'"
        ),
        (
            'Traceback (most recent call last):\n  File "/a/2/x.py", line 4, in <module>\n    '
            "open('/data/run2/in.csv')\nFileNotFoundError: [Errno 2] No such file or directory: "
            "'/data/run2/in.csv'"
        ),
    ),
    "cuda": (
        (
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 "
            "GiB total capacity; 13.20 GiB already allocated; 1.1 GiB free)"
        ),
        (
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 3; 15.78 "
            "GiB total capacity; 14.20 GiB already allocated; 900.00 MiB free)"
        ),
    ),
    "segv gcc": (
        "./solver: line 3: 12345 Segmentation fault      (core dumped) ./bin/solve 3",
        "./solver: line 3: 999 Segmentation fault      (core dumped) ./bin/solve 17",
    ),
    "assert": (
        "solver: src/mesh.c:120: refine: Assertion `n > 0' failed.",
        "solver: src/mesh.c:121: refine: Assertion `n > 0' failed.",
    ),
    "glibc": (
        "*** Error in `./a.out': double free or corruption (fasttop): 0x0000000001c6c010 ***",
        "*** Error in `./a.out': double free or corruption (fasttop): 0x00007f01c6cbeef0 ***",
    ),
    "bash notfound": (
        "/var/spool/slurmd/job123456/slurm_script: line 12: mpirun: command not found",
        "/var/spool/slurmd/job99/slurm_script: line 12: mpirun: command not found",
    ),
    "sh notfound": (
        "sh: 1: frobnicate: not found",
        "sh: 2: frobnicate: not found",
    ),
    "mpi abort": (
        "MPI_ABORT was invoked on rank 3 in communicator MPI_COMM_WORLD\nwith errorcode 1.",
        "MPI_ABORT was invoked on rank 17 in communicator MPI_COMM_WORLD\nwith errorcode 1.",
    ),
    "mpirun rank": (
        "mpirun noticed that process rank 3 with PID 0 on node node017 exited on signal 11 (Segmentation fault).",
        "mpirun noticed that process rank 5 with PID 4711 on node node003 exited on signal 11 (Segmentation fault).",
    ),
    "slurm tl": (
        "slurmstepd: error: *** JOB 123456 ON node012 CANCELLED AT 2024-05-01T12:13:14 DUE TO TIME LIMIT ***",
        "slurmstepd: error: *** JOB 7 ON node003 CANCELLED AT 2025-05-01T12:13:14 DUE TO TIME LIMIT ***",
    ),
    "slurm oom": (
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=1234.batch. Some of the step tasks "
            "have been OOM Killed."
        ),
        "slurmstepd: error: Detected 3 oom_kill events in StepId=99.0. Some of the step tasks have been OOM Killed.",
    ),
    "slurm srun": (
        "srun: error: node017: task 3: Exited with exit code 1",
        "srun: error: node018: task 12: Exited with exit code 1",
    ),
    "srun tasks": (
        "srun: error: node017: tasks 0-3: Exited with exit code 1",
        "srun: error: node[018-020]: tasks 12,14-15: Exited with exit code 1",
    ),
    "disk": (
        "cp: error writing '/scratch/j1/out.bin': No space left on device",
        "cp: error writing '/scratch/j2/out.bin': No space left on device",
    ),
    "duration": (
        "timed out after 12.3s waiting for db",
        "timed out after 1m12s waiting for db",
    ),
    "duration2": (
        "job took 3h 4m, limit 2h",
        "job took 13h 14m, limit 2h",
    ),
    "size": (
        "cannot allocate 512MiB",
        "cannot allocate 16GiB",
    ),
    "size2": (
        "file too short: 12kB",
        "file too short: 1.5MB",
    ),
    "sha": (
        "checksum mismatch: got d41d8cd98f00b204e9800998ecf8427e want 9e107d9d372bb6826bd81d3542a419d6",
        "checksum mismatch: got a9993e364706816aba3e25717850c26c9cd0d89d want 11111111111111111111111111111111",
    ),
    "hex up": (
        "bad page DEADBEEF01",
        "bad page 12AB34CD56",
    ),
    "tmp": (
        "cannot open /tmp/tmp4h2k9x_a/model.bin",
        "cannot open /tmp/tmpq8w7e6r5/model.bin",
    ),
    "mktemp": (
        "mv: cannot stat '/tmp/tmp.AbC123xYz9/out': No such file or directory",
        "mv: cannot stat '/tmp/tmp.ZZZ123xYz9/out': No such file or directory",
    ),
    "ip": (
        "connect to 10.0.0.3:5432 failed: Connection refused",
        "connect to 192.168.1.17:5433 failed: Connection refused",
    ),
    "ipv6": (
        "connect to [fe80::1ff:fe23:4567:890a]:80 failed",
        "connect to [2001:db8::1]:443 failed",
    ),
    "host": (
        "ssh: connect to host node017 port 22: Connection timed out",
        "ssh: connect to host node3 port 22: Connection timed out",
    ),
    "host dns": (
        "gpu-a100-03.cluster.local: nccl error 5",
        "gpu-a100-11.cluster.local: nccl error 5",
    ),
    "rank prefix": (
        "[rank 3]: RuntimeError: nan loss",
        "[rank 11]: RuntimeError: nan loss",
    ),
    "rank prefix2": (
        "[3] PETSC ERROR: Out of memory",
        "[12] PETSC ERROR: Out of memory",
    ),
    "rank torch": (
        "[rank3]: ValueError: nan",
        "[rank11]: ValueError: nan",
    ),
    "log prefix": (
        "2024-01-02 03:04:05,123 ERROR solver: diverged at step 12",
        "2024-01-03 13:04:05,999 ERROR solver: diverged at step 1200",
    ),
    "log prefix2": (
        "[2024/01/02 03:04:05] E solver diverged",
        "[2023/11/22 13:14:15] E solver diverged",
    ),
    "syslog": (
        "Jan  2 03:04:05 node1 app[123]: failed",
        "Feb 12 13:14:15 node7 app[9]: failed",
    ),
    "glog": (
        "E0102 03:04:05.123456 1234 main.cc:12] bad thing",
        "E0315 13:04:05.999999 99 main.cc:12] bad thing",
    ),
    "fortran": (
        (
            "At line 12 of file /src/a/solve.f90 (unit = 10, file = '/x/run1/fort.10')\nFortran runtime "
            "error: End of file"
        ),
        (
            "At line 12 of file /src/b/solve.f90 (unit = 10, file = '/x/run2/fort.10')\nFortran runtime "
            "error: End of file"
        ),
    ),
    "java": (
        (
            'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat '
            "com.x.Main.run(Main.java:12)\n\tat com.x.Main.main(Main.java:99)"
        ),
        (
            'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat '
            "com.x.Main.run(Main.java:13)\n\tat com.x.Main.main(Main.java:98)"
        ),
    ),
    "rust": (
        (
            "thread 'main' panicked at src/main.rs:12:5:\nindex out of bounds: the len is 3 but the index "
            "is 7\nnote: run with `RUST_BACKTRACE=1`"
        ),
        (
            "thread 'main' panicked at src/main.rs:12:5:\nindex out of bounds: the len is 4 but the index "
            "is 9\nnote: run with `RUST_BACKTRACE=1`"
        ),
    ),
    "seeds": (
        "seed=3: diverged",
        "seed=17: diverged",
    ),
    "run_id": (
        "run_20240102_030405 crashed",
        "run_20250609_101112 crashed",
    ),
    "job id word": (
        "job123456.out is empty",
        "job99.out is empty",
    ),
    "make": (
        "make: *** [Makefile:12: out/run3.o] Error 1",
        "make: *** [Makefile:12: out/run17.o] Error 1",
    ),
    "uuid-short": (
        "container 3f9a1c2b7d5e exited",
        "container a1b2c3d4e5f6 exited",
    ),
    "base64ish temp": (
        "could not read .nfs000000000a1b2c3d00000001",
        "could not read .nfs00000000ffb2c3d00000002",
    ),
    "pytest": (
        "FAILED tests/test_a.py::test_x - assert 3 == 4\n1 failed, 12 passed in 0.12s",
        "FAILED tests/test_a.py::test_x - assert 3 == 4\n1 failed, 12 passed in 1.32s",
    ),
    "timedelta": (
        "lease expired 0:00:12 ago",
        "lease expired 1 day, 2:03:04 ago",
    ),
    "epoch": (
        "expired at 1717171717.123",
        "expired at 1717171718",
    ),
}

TWO = {
    "exit codes silent": (
        ("", 1),
        ("", 2),
    ),
    "errno": (
        ("OSError: [Errno 2] No such file: '/a/x'", 1),
        ("OSError: [Errno 28] No such file: '/a/x'", 1),
    ),
    "http": (
        ("HTTP 404", 1),
        ("HTTP 500", 1),
    ),
    "keyerror": (
        ("KeyError: 'alpha'", 1),
        ("KeyError: 'beta'", 1),
    ),
    "cmd": (
        ("sh: 1: foo: not found", 127),
        ("sh: 1: bar: not found", 127),
    ),
    "oom vs tl": (
        ("slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-05-01T12:13:14 DUE TO TIME LIMIT ***", 1),
        ("slurmstepd: error: *** JOB 1 ON n1 CANCELLED AT 2024-05-01T12:13:14 DUE TO PREEMPTION ***", 1),
    ),
    "mpi signal": (
        (
            "mpirun noticed that process rank 3 with PID 0 on node n1 exited on signal 11 (Segmentation fault).",
            1,
        ),
        ("mpirun noticed that process rank 3 with PID 0 on node n1 exited on signal 9 (Killed).", 1),
    ),
    "srun code": (
        ("srun: error: node017: task 3: Exited with exit code 1", 1),
        ("srun: error: node017: task 3: Exited with exit code 2", 2),
    ),
    "mpi errorcode": (
        ("MPI_ABORT was invoked on rank 3\nwith errorcode 1.", 1),
        ("MPI_ABORT was invoked on rank 3\nwith errorcode 77.", 1),
    ),
    "assert": (
        ("a.out: m.c:3: f: Assertion `n > 0' failed.", 1),
        ("a.out: m.c:3: g: Assertion `m > 0' failed.", 1),
    ),
    "types": (
        ("ValueError: bad", 1),
        ("TypeError: bad", 1),
    ),
    "word": (
        ("cannot open input.csv", 1),
        ("cannot open mesh.csv", 1),
    ),
    "pytest tests": (
        ("FAILED tests/test_a.py::test_x - assert\n1 failed in 0.1s", 1),
        ("FAILED tests/test_a.py::test_y - assert\n1 failed in 0.1s", 1),
    ),
    "rust": (
        (
            (
                "thread 'main' panicked at src/main.rs:12:5:\nindex out of bounds\nnote: run with "
                "`RUST_BACKTRACE=1` environment variable to display a backtrace"
            ),
            1,
        ),
        (
            (
                "thread 'main' panicked at src/lib.rs:2:5:\ndivide by zero\nnote: run with `RUST_BACKTRACE=1` "
                "environment variable to display a backtrace"
            ),
            1,
        ),
    ),
    "java": (
        (
            (
                'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat '
                "com.x.Main.main(Main.java:99)"
            ),
            1,
        ),
        ('Exception in thread "main" java.lang.NullPointerException\n\tat com.x.Main.main(Main.java:99)', 1),
    ),
    "make": (
        ("make: *** [Makefile:3: a.o] Error 1", 2),
        ("make: *** [Makefile:3: a.o] Error 127", 2),
    ),
    "nccl": (
        ("nccl error 5", 1),
        ("cuda error 5", 1),
    ),
    "library": (
        ("error while loading shared libraries: libhdf5.so.103: cannot open shared object file", 127),
        ("error while loading shared libraries: libnetcdf.so.15: cannot open shared object file", 127),
    ),
}


@pytest.mark.parametrize(("one", "other"), ONE.values(), ids=ONE)
def test_equivalent_failures_share_a_signature(one: str, other: str) -> None:
    assert of(one) == of(other)


@pytest.mark.parametrize(("one", "other"), TWO.values(), ids=TWO)
def test_different_failures_have_different_signatures(one: tuple[str, int], other: tuple[str, int]) -> None:
    assert of(*one) != of(*other)
