-- Pictures of workflows: jobs by template, their edges and progress. Jobs of the set `shown` are apart from the others
-- of their template: the column `job` names them, and is null for the others.

-- name: names
-- The name of each template that a workflow has had.
SELECT id, name FROM template WHERE workflow = :workflow;

-- name: counts
-- Jobs by template and state: how many, how many of them are held, and the first.
SELECT template, state, count(*) AS n, count(held) AS held, min(id) AS first FROM job
WHERE workflow = :workflow AND retired = 0 GROUP BY template, state ORDER BY template, state;

-- name: jobs
-- Of each template, those jobs that most want attention, up to a limit.
SELECT id FROM (
    SELECT id, row_number() OVER (
        PARTITION BY template ORDER BY CASE state
            WHEN 5 THEN 0 WHEN 3 THEN 1 WHEN 2 THEN 2 WHEN 6 THEN 3 WHEN 1 THEN 4 WHEN 0 THEN 5 ELSE 6 END, id
    ) AS place
    FROM job WHERE workflow = :workflow AND retired = 0 AND template IN @templates
) AS ranked WHERE place <= :limit;

-- name: shown
-- Jobs that are shown.
SELECT id, name, template, state, held FROM job WHERE id IN @jobs AND retired = 0 ORDER BY id;

-- name: parent
-- A shown parent.
CASE WHEN parent.id IN @shown THEN parent.id END;

-- name: child
-- A shown child.
CASE WHEN child.id IN @shown THEN child.id END;

-- name: edges
-- The number of edges between templates, and from and to shown jobs.
SELECT parent.template AS parent_template, {parent} AS parent, child.template AS child_template, {child} AS child,
    count(*) AS n
FROM job AS parent JOIN edge ON edge.parent = parent.id JOIN job AS child ON child.id = edge.child
WHERE parent.workflow = :workflow AND parent.retired = 0 AND child.retired = 0
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;

-- name: blocked
-- The number of waiting jobs that cannot start, since a job above them has failed or was canceled.
WITH RECURSIVE below (id) AS (
    SELECT id FROM job WHERE workflow = :workflow AND state IN (5, 6) AND retired = 0
    UNION
    SELECT edge.child FROM below JOIN edge ON edge.parent = below.id JOIN job ON job.id = edge.child
    WHERE job.state = 0 AND job.when_finished = 0 AND job.retired = 0
)
SELECT job.template, CASE WHEN job.id IN @shown THEN job.id END AS job, count(*) AS n
FROM below JOIN job ON job.id = below.id WHERE job.state = 0 GROUP BY 1, 2;

-- name: subtasks
-- The items of the fan-outs of live attempts: how many, and how many have completed. A fan-out belongs to the attempt,
-- or to the one that the attempt keeps the step from. Where it builds on an earlier one, the newest entry of each item
-- counts; an entry in `gone` says that the item is no more.
WITH RECURSIVE owner (template, job, attempt, step, total, base) AS (
    SELECT job.template, job.id, fan_out.attempt, fan_out.step, fan_out.total, fan_out.base
    FROM job JOIN fan_out ON fan_out.attempt = job.attempt WHERE job.workflow = :workflow AND job.retired = 0
    UNION ALL
    SELECT job.template, job.id, fan_out.attempt, fan_out.step, fan_out.total, fan_out.base
    FROM job JOIN step ON step.attempt = job.attempt AND step.kept_from IS NOT NULL
        JOIN fan_out ON fan_out.attempt = step.kept_from AND fan_out.step = step.position
    WHERE job.workflow = :workflow AND job.retired = 0
), layer (job, step, attempt, base, depth) AS (
    SELECT job, step, attempt, base, 0 FROM owner WHERE base IS NOT NULL
    UNION ALL
    SELECT layer.job, layer.step, fan_out.attempt, fan_out.base, layer.depth + 1
    FROM layer JOIN fan_out ON fan_out.attempt = layer.base AND fan_out.step = layer.step
), entry (job, step, idx, state, depth) AS (
    SELECT layer.job, layer.step, subtask.idx, subtask.state, layer.depth
    FROM layer JOIN subtask ON subtask.attempt = layer.attempt AND subtask.step = layer.step
    UNION ALL
    SELECT layer.job, layer.step, CAST(gone.value AS BIGINT), -1, layer.depth
    FROM layer JOIN fan_out ON fan_out.attempt = layer.attempt AND fan_out.step = layer.step,
        json_each(fan_out.gone) AS gone
), newest (job, step, state, place) AS (
    SELECT job, step, state, row_number() OVER (PARTITION BY job, step, idx ORDER BY depth) FROM entry
), merged (job, step, done) AS (
    SELECT job, step, count(*) FROM newest WHERE place = 1 AND state = 4 GROUP BY job, step
)
SELECT owner.template, CASE WHEN owner.job IN @shown THEN owner.job END AS job, sum(owner.total) AS total,
    sum(CASE WHEN owner.base IS NOT NULL THEN coalesce(merged.done, 0) ELSE (
        SELECT count(*) FROM subtask
        WHERE subtask.attempt = owner.attempt AND subtask.step = owner.step AND subtask.state = 4
    ) END) AS done
FROM owner LEFT JOIN merged ON merged.job = owner.job AND merged.step = owner.step
GROUP BY 1, 2;

-- name: first_needs
-- The waiting jobs of a workflow, each with the first job that it needs and that has not completed.
SELECT edge.child, min(edge.parent)
FROM job JOIN edge ON edge.child = job.id JOIN job AS parent ON parent.id = edge.parent
WHERE job.workflow = :workflow AND job.state = 0 AND job.retired = 0 AND parent.state <> 4
GROUP BY edge.child;

-- name: labelled
-- The templates of workflows that have labels, older ones first.
SELECT workflow, name, body FROM template WHERE workflow IN @workflows AND body LIKE :pattern ORDER BY id;

-- name: count_beside
-- The number of jobs of the workflows of jobs.
SELECT coalesce(sum(n), 0) FROM workflow_count WHERE workflow IN (SELECT workflow FROM job WHERE id IN @jobs);

-- name: names_beside
-- The names of all jobs of the workflows of jobs.
SELECT name FROM job WHERE workflow IN (SELECT workflow FROM job AS one WHERE one.id IN @jobs) AND retired = 0;
