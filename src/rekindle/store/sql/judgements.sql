-- Failures that wait for a decision, and the questions that judges are asked.

-- name: known_signatures
-- Those of some signatures that an attempt has had, other than these attempts and those that still wait for a person.
SELECT signature.digest FROM signature WHERE signature.digest IN @digests AND EXISTS (
    SELECT 1 FROM attempt WHERE attempt.signature = signature.id AND attempt.id NOT IN @attempts
        AND (attempt.undecided IS NULL OR attempt.undecided <> :unknown)
);

-- name: set_undecided
-- What a failed attempt waits for.
-- row: undecided, attempt
UPDATE attempt SET undecided = :undecided WHERE id = :attempt;

-- name: decide
-- Failures that wait for nothing any more.
UPDATE attempt SET undecided = NULL WHERE id IN @attempts;

-- name: undecided
-- The live attempts of jobs that wait for a decision.
SELECT attempt.job, attempt.id, attempt.undecided FROM job JOIN attempt ON attempt.id = job.attempt
WHERE job.id IN @jobs AND attempt.undecided IS NOT NULL ORDER BY attempt.id;

-- name: ask
-- A question about an attempt.
-- row: workflow, job, attempt, command, token, asked
INSERT INTO judgement (workflow, job, attempt, command, token, asked)
VALUES (:workflow, :job, :attempt, :command, :token, :asked);

-- name: open
-- The questions without an answer, oldest first.
SELECT judgement.id, judgement.workflow, judgement.job, job.name, judgement.attempt, judgement.command, judgement.token,
    judgement.starts, judgement.owner, judgement.taken, workflow.directory
FROM judgement JOIN job ON job.id = judgement.job JOIN workflow ON workflow.id = judgement.workflow
WHERE judgement.answer IS NULL AND (CAST(:workflow AS BIGINT) IS NULL OR judgement.workflow = :workflow)
ORDER BY judgement.id;

-- name: count_open
-- How many questions of a workflow have no answer.
SELECT count(*) FROM judgement WHERE answer IS NULL AND workflow = :workflow;

-- name: take
-- A new owner of a question that nobody else has taken since it was read.
UPDATE judgement SET owner = :owner, taken = :now, starts = starts + 1
WHERE id = :id AND starts = :starts AND answer IS NULL;

-- name: give_back
-- A question that its owner asks no more.
UPDATE judgement SET owner = NULL, starts = starts - 1 WHERE id = :id AND starts = :starts AND answer IS NULL;

-- name: conclude
-- The answer to a question, given to the process that has taken it last.
UPDATE judgement SET answer = :answer, reason = :reason, ended = :now
WHERE id = :id AND starts = :starts AND answer IS NULL;

-- name: waits_for_judge
-- Whether an attempt is live and waits for its judge.
SELECT 1 FROM attempt JOIN job ON job.attempt = attempt.id WHERE attempt.id = :attempt AND attempt.undecided = :judge;
