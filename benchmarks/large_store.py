"""`python -m benchmarks.large_store FOLDER [JOBS]`: a consistent store of many jobs with a history; no job runs for it.

Of 1,000,000 jobs, 10,000 `root[i=…]` have failed, 20 `below[i=…,k=…]` need each of them and wait, and 790,000
`other[i=…]` have completed. The definition goes through the store's own submit; the states and attempts of all jobs
are then written with a handful of statements. `rekindle store check --deep` finds nothing wrong."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rekindle.domain.definition import Definition, JobNode, JobTemplate, Step
from rekindle.domain.models import Failure
from rekindle.domain.signatures import failure_signature
from rekindle.domain.states import Cause, State
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit

FAILED_SHARE, CHILDREN = 100, 20
"""One job of so many has failed, and so many need it."""

MESSAGE = "ValueError: the number does not converge"

_STATES = """UPDATE job SET state = :state, attempt = (id - :first) + :attempts, attempts = 1, version = version + 1
WHERE workflow = :workflow AND unmet = 0 AND (name LIKE 'root[%') = (:failed = 1)"""

_ATTEMPTS = """INSERT INTO attempt (id, job, workflow, number, token, state, revision, template, host, folder, queued,
    started, ended, cause, exit_code, signature, error_type, error_message, error_stderr, cpu_seconds, max_rss_bytes)
SELECT job.attempt, job.id, job.workflow, 1, 'large-' || job.workflow || '-' || job.id, job.state, 1, job.template,
    'node' || (job.id % 7), NULL, :began, :began + job.id * 0.001, :began + job.id * 0.001 + 1 + job.id % 5,
    CASE WHEN job.state = 5 THEN 'exit' END, CASE WHEN job.state = 5 THEN 1 ELSE 0 END,
    CASE WHEN job.state = 5 THEN CAST(:signature AS BIGINT) END,
    CASE WHEN job.state = 5 THEN '' END, CASE WHEN job.state = 5 THEN '' END, CASE WHEN job.state = 5 THEN :stderr END,
    0.5, 20000000
FROM job WHERE job.workflow = :workflow AND job.attempt IS NOT NULL ORDER BY job.attempt"""

_STEPS = """INSERT INTO step (attempt, position, name, state, cause, exit_code, started, ended)
SELECT id, 0, 'run', state, cause, exit_code, started, ended FROM attempt WHERE workflow = :workflow ORDER BY id"""

_SIGNATURE = (
    "INSERT INTO signature (digest, cause, type, message) VALUES (:digest, :cause, :type, :message) RETURNING id"
)

_FORGET_COUNTS = "DELETE FROM workflow_count WHERE workflow = :workflow"

_COUNTS = """INSERT INTO workflow_count (workflow, resource_class, state, part, n)
SELECT workflow, resource_class, state, 0, count(*) FROM job WHERE workflow = :workflow
GROUP BY workflow, resource_class, state"""

_SPANS = """INSERT INTO workflow_span (workflow, part, started, ended)
SELECT workflow, 0, min(started), max(ended) FROM attempt WHERE workflow = :workflow GROUP BY workflow"""


def large_definition(jobs: int, directory: Path, name: str = "large") -> Definition:
    """Return a workflow of about `jobs` jobs, all of the command `/bin/true`."""
    roots = jobs // FAILED_SHARE
    entries = ("root", "below", "other")
    templates = [JobTemplate(entry, (Step("run", run=("/bin/true",)),)) for entry in entries]
    nodes = [JobNode(f"root[i={i}]", 0, {"i": i}) for i in range(roots)]
    nodes += [JobNode(f"below[i={i},k={k}]", 1, {"i": i, "k": k}) for i in range(roots) for k in range(CHILDREN)]
    nodes += [JobNode(f"other[i={i}]", 2, {"i": i}) for i in range(jobs - len(nodes))]
    edges = [(at // CHILDREN, roots + at) for at in range(roots * CHILDREN)]
    return Definition(name, str(directory), templates, nodes, edges)


def make_store(folder: Path, jobs: int, url: str | None = None) -> None:
    """Make a store of `jobs` jobs in `folder`; of `url`, if that is given."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_session(url or str(folder / ".rekindle")) as session:
        submitted = submit(session, large_definition(jobs, folder))
        add_history(session, submitted.workflow)


def add_history(session: Session, workflow: int) -> None:
    """Give every job without needs a live attempt: that of a root has failed, that of another has completed."""
    stderr = f"reading the numbers\n{MESSAGE}\n"
    signature = failure_signature(Cause.EXIT, Failure("", "", "", stderr))
    with session.store.write() as archive:
        driver = archive.jobs._db.driver
        first = driver.execute("SELECT min(id) FROM job WHERE workflow = :workflow", {"workflow": workflow}).fetchone()
        _, used = archive.jobs.highest_attempts()
        about = {"workflow": workflow, "first": first[0], "attempts": used + 1}
        for failed, state in ((1, State.FAILED), (0, State.COMPLETED)):
            driver.execute(_STATES, {**about, "failed": failed, "state": int(state)})
        values = {"digest": signature.digest, "cause": "exit", "type": signature.type, "message": signature.message}
        row = driver.execute(_SIGNATURE, values).fetchone()[0]
        began = time.time() - 86_400.0
        driver.execute(_ATTEMPTS, {"workflow": workflow, "signature": row, "stderr": stderr, "began": began})
        for statement in (_STEPS, _FORGET_COUNTS, _COUNTS, _SPANS):
            driver.execute(statement, {"workflow": workflow})
        driver.continue_ids(())


def main() -> None:
    """Make a store as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_store", description=(__doc__ or "").split(":")[1])
    parser.add_argument("folder", type=Path)
    parser.add_argument("jobs", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--store", metavar="URL", help="make the store there (postgresql://…)")
    args = parser.parse_args()
    make_store(args.folder.resolve(), args.jobs, args.store)


if __name__ == "__main__":
    main()
