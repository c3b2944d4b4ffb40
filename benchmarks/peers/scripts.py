"""Scripts in which peers that are libraries do the work, as their documentation does it."""

from __future__ import annotations

# https://parsl.readthedocs.io/en/stable/userguide/configuration/execution.html (a local HighThroughputExecutor),
# https://parsl.readthedocs.io/en/stable/userguide/workflows/checkpoints.html
PARSL = """
import sys
import parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider

what, executor, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

@bash_app
def true():
    return "/bin/true"

@python_app
def nothing(number):
    return None

@python_app(cache=True)
def fail_each(number, every):
    if number % every == 0:
        raise ValueError(number)

if executor == "threads":
    chosen = ThreadPoolExecutor(max_threads=2)
else:
    provider = LocalProvider(init_blocks=1, max_blocks=1)
    chosen = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, provider=provider)
again = what == "checkpoints"
memoizer = BasicMemoizer(checkpoint_mode="task_exit") if again else BasicMemoizer(memoize=False)
config = Config(executors=[chosen], memoizer=memoizer, strategy="none")
with parsl.load(config):
    if what == "commands":
        futures = [true() for _ in range(count)]
    elif what == "calls":
        futures = [nothing(number) for number in range(count)]
    else:
        futures = [fail_each(number, 100) for number in range(count)]
    failed = sum(future.exception() is not None for future in futures)
assert failed == (-(-count // 100) if again else 0), failed
"""

# https://distributed.dask.org/en/stable/client.html#map (many small calls), https://docs.dask.org/en/stable/deploying-python.html
DASK = """
import subprocess
import sys
from distributed import Client, LocalCluster

def true(number):
    subprocess.run(["/bin/true"], check=True)

def nothing(number):
    return None

if __name__ == "__main__":
    function = {"commands": true, "calls": nothing}[sys.argv[1]]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(function, range(int(sys.argv[2])), pure=False))
"""

# https://materialsproject.github.io/fireworks/introduction.html; mongomock is a MongoDB in the memory of one process
FIREWORKS = """
import json
import sys
import time
import mongomock
import mongomock.gridfs
import fireworks.core.launchpad as launchpad

launchpad.MongoClient = mongomock.MongoClient
mongomock.gridfs.enable_gridfs_integration()
from fireworks import Firework, FWorker, LaunchPad, PyTask, ScriptTask, Workflow
from fireworks.core.rocket_launcher import rapidfire

what, count = sys.argv[1], int(sys.argv[2])
pad = LaunchPad(logdir=None, strm_lvl="CRITICAL")
pad.reset("", require_password=False, max_reset_wo_password=count + 1)
tasks = {
    "commands": lambda number: ScriptTask.from_str("/bin/true"),
    "calls": lambda number: PyTask(func="builtins.abs", args=[number]),
    "reruns": lambda number: PyTask(func="builtins.int", args=["x" if number % 100 == 0 else "1"]),
}
pad.bulk_add_wfs([Workflow([Firework(tasks[what](number))]) for number in range(count)])
rapidfire(pad, FWorker(), strm_lvl="CRITICAL")
if what == "reruns":
    began, used = time.perf_counter(), time.process_time()
    failed = pad.get_fw_ids({"state": "FIZZLED"})
    for one in failed:
        pad.rerun_fw(one)
    assert len(failed) == -(-count // 100), failed
    with open("taken.json", "w") as file:
        json.dump({"wall": time.perf_counter() - began, "processor": time.process_time() - used}, file)
else:
    assert len(pad.get_fw_ids({"state": "COMPLETED"})) == count
"""

# https://it4innovations.github.io/hyperqueue/stable/python/submit/: the package holds a server and workers.
# Without files for standard output, as its documentation advises for many short tasks.
HYPERQUEUE = """
import json
import sys
import time
from pathlib import Path
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

what, count = sys.argv[1], int(sys.argv[2])
job = Job(max_fails=None)
for number in range(count):
    line = ["/bin/true"] if what == "commands" or number % 100 else ["/bin/false"]
    job.program(line, stdout=None, stderr=None)
Path("server").mkdir()
with LocalCluster(str(Path("server").absolute())) as cluster:
    while not list(Path("server").rglob("access.json")):
        time.sleep(0.01)
    cluster.start_worker(WorkerConfig(cores=2))
    client = cluster.client()
    submitted = client.submit(job)
    client.wait_for_jobs([submitted], raise_on_error=False)
    began, used = time.perf_counter(), time.process_time()
    failed = client.get_failed_tasks(submitted) if what == "reruns" else ()
    taken = {"wall": time.perf_counter() - began, "processor": time.process_time() - used}
    assert len(failed) == (-(-count // 100) if what == "reruns" else 0), len(failed)
Path("taken.json").write_text(json.dumps(taken))
"""

# https://docs.python.org/3/library/concurrent.futures.html#processpoolexecutor
POOL = """
import sys
from concurrent.futures import ProcessPoolExecutor
from work import nothing

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(nothing) for _ in range(int(sys.argv[1]))]:
            future.result()
"""
