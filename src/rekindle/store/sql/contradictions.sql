-- Columns that contradict the attempts and edges that they follow from.

-- name: given_up
-- Jobs that have failed, were canceled, or cannot run because a job above them has; by attempts and edges alone. A
-- failure that waits for a decision does not count.
WITH RECURSIVE given_up (id) AS (
    SELECT job.id FROM job LEFT JOIN attempt ON attempt.id = job.attempt
    WHERE (attempt.state IN (5, 6) AND attempt.undecided IS NULL) OR (attempt.id IS NULL AND job.canceled <> 0)
    UNION
    SELECT job.id FROM given_up JOIN edge ON edge.parent = given_up.id JOIN job ON job.id = edge.child
    WHERE job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0
);

-- name: needs
-- The same, and the number of parents that are not done of each job with such. A job with `when: finished` does not need
-- those that gave up. Counted for all jobs together: for one after the other, PostgreSQL reads all parents each time.
{given_up},
needs (child, n) AS (
    SELECT edge.child, count(*)
    FROM edge JOIN job ON job.id = edge.child JOIN job AS parent ON parent.id = edge.parent
    WHERE parent.state <> 4 AND NOT (job.when_finished = 1 AND parent.id IN (SELECT id FROM given_up))
    GROUP BY edge.child
);

-- name: states
-- Jobs whose state does not follow from their live attempt, cancellation and parents.
{needs}
SELECT id, name, state, derived FROM (
    SELECT job.id, job.name, job.state,
        CASE
            WHEN attempt.id IS NOT NULL THEN attempt.state
            WHEN job.canceled <> 0 THEN 6
            WHEN needs.n IS NOT NULL THEN 0
            ELSE 1
        END AS derived
    FROM job LEFT JOIN attempt ON attempt.id = job.attempt LEFT JOIN needs ON needs.child = job.id
) AS job_states WHERE state <> derived ORDER BY id;

-- name: unmet
-- Jobs whose unmet count is not the number of parents that are not done.
{needs}
SELECT job.id, job.name, job.unmet, coalesce(needs.n, 0) AS derived
FROM job LEFT JOIN needs ON needs.child = job.id WHERE job.unmet <> coalesce(needs.n, 0) ORDER BY job.id;

-- name: attempts
-- Jobs whose number of attempts is not the number of their rows.
SELECT id, name, attempts, derived FROM (
    SELECT job.id, job.name, job.attempts, (SELECT count(*) FROM attempt WHERE attempt.job = job.id) AS derived
    FROM job
) AS job_attempts WHERE attempts <> derived ORDER BY id;

-- name: pointers
-- Jobs whose live attempt does not exist, belongs to another job, or is archived.
SELECT job.id, job.name, job.attempt, NULL
FROM job LEFT JOIN attempt ON attempt.id = job.attempt
WHERE job.attempt IS NOT NULL
    AND (attempt.id IS NULL OR attempt.job <> job.id OR attempt.archived_by IS NOT NULL)
ORDER BY job.id;

-- name: live
-- Attempts that are not archived and not the live ones of their jobs.
SELECT job.id, job.name, attempt.id, job.attempt
FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.archived_by IS NULL AND (job.attempt IS NULL OR job.attempt <> attempt.id)
ORDER BY job.id, attempt.id;

-- name: candidates
-- Jobs whose reuse candidate is not an archived, COMPLETED attempt of theirs (0: any), or that have a live attempt too.
SELECT job.id, job.name, job.reuse_candidate, NULL
FROM job LEFT JOIN attempt ON attempt.id = job.reuse_candidate
WHERE job.reuse_candidate IS NOT NULL AND (job.attempt IS NOT NULL OR (job.reuse_candidate <> 0 AND (
    attempt.id IS NULL OR attempt.job <> job.id OR attempt.archived_by IS NULL OR attempt.state <> 4
)))
ORDER BY job.id;

-- name: pinned
-- Jobs that are pinned to something else than an attempt of theirs.
SELECT job.id, job.name, job.pinned_to, NULL
FROM job LEFT JOIN attempt ON attempt.id = job.pinned_to
WHERE job.pinned_to IS NOT NULL AND (attempt.id IS NULL OR attempt.job <> job.id)
ORDER BY job.id;

-- name: active
-- Jobs with more than one attempt that has not ended.
SELECT job.id, job.name, count(*), 1
FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.state IN (2, 3) GROUP BY job.id, job.name HAVING count(*) > 1 ORDER BY job.id;

-- name: archived_active
-- Archived attempts that have not ended and are not asked to cancel.
SELECT job.id, job.name, attempt.id, NULL
FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.archived_by IS NOT NULL AND attempt.state IN (2, 3) AND attempt.cancel = 0 ORDER BY attempt.id;

-- name: counts
-- Counts that are not the number of jobs.
SELECT workflow, resource_class, state, sum(written) AS n, sum(derived) AS derived FROM (
    SELECT workflow, resource_class, state, n AS written, 0 AS derived FROM workflow_count
    UNION ALL
    SELECT workflow, resource_class, state, 0, 1 FROM job WHERE retired = 0
) AS job_counts GROUP BY workflow, resource_class, state HAVING sum(written) <> sum(derived)
ORDER BY workflow, resource_class, state;

-- name: spans
-- Workflows whose first start or last end is not that of their attempts.
SELECT id, name, kept, derived FROM (
    SELECT id, name, 'started' AS what,
        (SELECT min(started) FROM workflow_span WHERE workflow_span.workflow = workflow.id) AS kept,
        (SELECT min(started) FROM attempt WHERE attempt.workflow = workflow.id) AS derived FROM workflow
    UNION ALL
    SELECT id, name, 'ended',
        (SELECT max(ended) FROM workflow_span WHERE workflow_span.workflow = workflow.id),
        (SELECT max(ended) FROM attempt WHERE attempt.workflow = workflow.id) FROM workflow
) AS workflow_spans WHERE coalesce(kept, -1) <> coalesce(derived, -1) ORDER BY id, what;
