-- Jobs that need others only finished (`when: finished`): see rekindle.domain.finishing. A job is idle that has no
-- attempt, is not canceled, and needs all to have completed.

-- name: there_are
-- Whether a workflow of some jobs has any, by the index that holds nothing else.
SELECT EXISTS (SELECT 1 FROM job WHERE when_finished = 1)
    AND EXISTS (
        SELECT 1 FROM job WHERE when_finished = 1 AND workflow IN (SELECT workflow FROM job AS one WHERE one.id IN @jobs)
    );

-- name: below
-- What needs some jobs, and over idle ones what needs those: whether it is idle, whether it needs others only finished.
WITH RECURSIVE reached (id, idle, when_finished) AS (
    SELECT job.id, job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0, job.when_finished
    FROM edge JOIN job ON job.id = edge.child WHERE edge.parent IN @jobs
    UNION
    SELECT job.id, job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0, job.when_finished
    FROM reached JOIN edge ON edge.parent = reached.id JOIN job ON job.id = edge.child WHERE reached.idle = 1
)
SELECT id, idle, when_finished FROM reached;

-- name: upward
-- Some jobs, and all that idle ones among them need, and so on.
WITH RECURSIVE reached (id, idle) AS (
    SELECT job.id, job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0 FROM job WHERE job.id IN @jobs
    UNION
    SELECT job.id, job.attempt IS NULL AND job.canceled = 0 AND job.when_finished = 0
    FROM reached JOIN edge ON edge.child = reached.id JOIN job ON job.id = edge.parent WHERE reached.idle = 1
);

-- name: standing_above
-- Those of them that are idle, and those that have failed or were canceled.
{upward}
SELECT reached.id, reached.idle, attempt.state IN (5, 6) OR (attempt.id IS NULL AND job.canceled <> 0)
FROM reached JOIN job ON job.id = reached.id LEFT JOIN attempt ON attempt.id = job.attempt;

-- name: edges_above
-- What the idle ones need.
{upward}
SELECT edge.parent, edge.child FROM reached JOIN edge ON edge.child = reached.id WHERE reached.idle = 1;
