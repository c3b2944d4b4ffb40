-- Hooks of workflows, and their deliveries.

-- name: hooks
-- The hooks in the latest revisions of the workflows that are not archived, or of one.
SELECT workflow.id, revision.hooks
FROM workflow JOIN revision ON revision.workflow = workflow.id AND revision.number = workflow.revision
WHERE revision.hooks IS NOT NULL AND workflow.archived IS NULL
    AND (CAST(:workflow AS BIGINT) IS NULL OR workflow.id = :workflow)
ORDER BY workflow.id;

-- name: run_to_end
-- The newest live attempt of a workflow, if its revision had hooks and the end of its run is not recorded.
SELECT attempt.id FROM attempt
    JOIN revision ON revision.workflow = attempt.workflow AND revision.number = attempt.revision
WHERE attempt.id = (SELECT max(job.attempt) FROM job WHERE job.workflow = :workflow) AND revision.hooks IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM hook_delivery
        WHERE hook_delivery.workflow = :workflow AND hook_delivery.attempt = attempt.id AND hook_delivery.event = 'finished'
    );

-- name: add
-- A delivery, unless the event of the run has one.
INSERT INTO hook_delivery (workflow, attempt, event, token, hook, document, added, result)
VALUES (:workflow, :attempt, :event, :token, :hook, :document, :now, :result)
ON CONFLICT (workflow, attempt, event) DO NOTHING;

-- name: pending
-- The deliveries without a result, oldest first.
SELECT hook_delivery.id, hook_delivery.workflow, workflow.directory, hook_delivery.token, hook_delivery.hook,
    hook_delivery.document, hook_delivery.starts, hook_delivery.owner, hook_delivery.taken
FROM hook_delivery JOIN workflow ON workflow.id = hook_delivery.workflow
WHERE hook_delivery.result IS NULL AND (CAST(:workflow AS BIGINT) IS NULL OR hook_delivery.workflow = :workflow)
ORDER BY hook_delivery.id;

-- name: take
-- A new owner of a delivery that nobody else has taken since it was read.
UPDATE hook_delivery SET owner = :owner, taken = :now, starts = starts + 1
WHERE id = :id AND starts = :starts AND result IS NULL;

-- name: conclude
-- The result of a delivery.
UPDATE hook_delivery SET result = :result, ended = :now WHERE id = :id AND result IS NULL;
