-- What the next attempt of a job does is one document (JSON of rekindle.domain.next_attempt.NextAttempt; null: nothing
-- out of the ordinary), in jobs, in the jobs of reruns and in the pointers that undo restores. The values that queries
-- read are generated from it.

DROP INDEX job_ready;
DROP INDEX job_ready_by_class;
DROP INDEX job_check;
DROP INDEX job_delayed;

ALTER TABLE job ADD COLUMN next_attempt TEXT;
UPDATE job SET next_attempt = nullif(json_patch('{}', json_object(
    'resume_attempt', resume_attempt, 'resume_step', nullif(resume_step, 0), 'subtasks', json(subtasks),
    'take', workdir, 'folder', folder, 'overrides', overrides, 'pinned_to', pinned_to, 'not_before', not_before,
    'avoids', avoids, 'repeats', nullif(repeats, 0), 'keep_recovery', keep_recovery, 'reuse_candidate', reserve
)), '{}');
ALTER TABLE job DROP COLUMN resume_attempt;
ALTER TABLE job DROP COLUMN resume_step;
ALTER TABLE job DROP COLUMN subtasks;
ALTER TABLE job DROP COLUMN workdir;
ALTER TABLE job DROP COLUMN folder;
ALTER TABLE job DROP COLUMN overrides;
ALTER TABLE job DROP COLUMN pinned_to;
ALTER TABLE job DROP COLUMN not_before;
ALTER TABLE job DROP COLUMN avoids;
ALTER TABLE job DROP COLUMN repeats;
ALTER TABLE job DROP COLUMN keep_recovery;
ALTER TABLE job DROP COLUMN reserve;
ALTER TABLE job ADD COLUMN resume_attempt INTEGER AS (json_extract(next_attempt, '$.resume_attempt'));
ALTER TABLE job ADD COLUMN folder TEXT AS (json_extract(next_attempt, '$.folder'));
ALTER TABLE job ADD COLUMN overrides TEXT AS (json_extract(next_attempt, '$.overrides'));
ALTER TABLE job ADD COLUMN pinned_to INTEGER AS (json_extract(next_attempt, '$.pinned_to'));
ALTER TABLE job ADD COLUMN not_before REAL AS (json_extract(next_attempt, '$.not_before'));
ALTER TABLE job ADD COLUMN avoids TEXT AS (json_extract(next_attempt, '$.avoids'));
ALTER TABLE job ADD COLUMN reuse_candidate INTEGER AS (json_extract(next_attempt, '$.reuse_candidate'));

CREATE INDEX job_ready ON job (workflow, resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NULL AND not_before IS NULL;
CREATE INDEX job_ready_by_class ON job (resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NULL AND not_before IS NULL;
CREATE INDEX job_check ON job (workflow, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reuse_candidate IS NOT NULL;
CREATE INDEX job_delayed ON job (not_before) WHERE not_before IS NOT NULL;

ALTER TABLE rerun_job ADD COLUMN next_attempt TEXT;
ALTER TABLE rerun_job ADD COLUMN changes TEXT;  -- JSON: the overrides that the rerun changed; null: none
ALTER TABLE rerun_job ADD COLUMN saves TEXT;    -- JSON: the outputs that the rerun was to save; null: none
UPDATE rerun_job SET
    changes = nullif(json_extract(manner, '$.changes'), '[]'),
    saves = nullif(json_extract(manner, '$.saves'), '[]'),
    next_attempt = nullif(json_patch('{}', json_patch(
        json_remove(coalesce(manner, '{}'), '$.changes', '$.saves'), json_object(
            'resume_attempt', resume_attempt, 'resume_step', nullif(resume_step, 0), 'subtasks', json(subtasks),
            'pinned_to', pinned_to, 'reuse_candidate', reserve
        )
    )), '{}'),
    pointers = json_set(
        json_remove(
            pointers, '$.resume_attempt', '$.resume_step', '$.subtasks', '$.take', '$.folder', '$.overrides',
            '$.pinned_to', '$.not_before', '$.avoids', '$.repeats', '$.keep_recovery', '$.reserve'
        ),
        '$.next', json(json_patch('{}', json_patch(
            json_remove(pointers, '$.attempt', '$.held', '$.canceled', '$.reserve'),
            json_object('reuse_candidate', json_extract(pointers, '$.reserve'))
        )))
    );
ALTER TABLE rerun_job DROP COLUMN manner;
ALTER TABLE rerun_job DROP COLUMN resume_attempt;
ALTER TABLE rerun_job DROP COLUMN resume_step;
ALTER TABLE rerun_job DROP COLUMN subtasks;
ALTER TABLE rerun_job DROP COLUMN pinned_to;
ALTER TABLE rerun_job DROP COLUMN reserve;
ALTER TABLE rerun_job ADD COLUMN reuse_candidate INTEGER AS (json_extract(next_attempt, '$.reuse_candidate'));
