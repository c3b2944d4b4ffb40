-- Verifications of attempts.

-- name: add
-- How an attempt came out aside.
-- distinct row: attempt, at, outcome, detail
INSERT INTO verification (attempt, at, outcome, detail) VALUES (:attempt, :at, :outcome, :detail)
ON CONFLICT (attempt, at) DO UPDATE SET outcome = excluded.outcome, detail = excluded.detail;

-- name: of_jobs
-- The verifications of all attempts of jobs, oldest first.
SELECT attempt.job, verification.attempt, verification.at, verification.outcome, verification.detail
FROM verification JOIN attempt ON attempt.id = verification.attempt
WHERE attempt.job IN @jobs ORDER BY verification.at, verification.attempt;
