-- What is read of the candidates of a selection, many at a time.

-- name: params
-- The parameters of a revision of a workflow.
SELECT params FROM revision WHERE workflow = :workflow AND number = :revision;

-- name: any_change
-- A patch in force, if there is any.
SELECT id FROM patch WHERE in_force = 1 LIMIT 1;

-- name: changes
-- The patches in force on jobs, in order.
SELECT job, change FROM patch WHERE job IN @jobs AND in_force = 1 ORDER BY id;

-- name: errors
-- The error texts of all attempts of jobs that have any.
SELECT job, error_message, error_type, error_traceback, error_stderr FROM attempt
WHERE job IN @jobs AND coalesce(error_message, error_type, error_traceback, error_stderr) IS NOT NULL;

-- name: history
-- The attempts of jobs, with few columns.
SELECT job, id, archived_by IS NOT NULL, coalesce(ended, started, queued) FROM attempt WHERE job IN @jobs ORDER BY id;

-- name: next_attempts
-- What the next attempts of jobs do, where it is not the default.
SELECT id, next_attempt FROM job WHERE id IN @jobs AND next_attempt IS NOT NULL;

-- name: runners
-- The labels of runners, or their hosts.
SELECT id, coalesce(nullif(label, ''), host) FROM runner WHERE id IN @runners;
