-- Claims of runners without a workflow: the first ready jobs of each resource class, whatever their workflow.

CREATE INDEX IF NOT EXISTS job_ready_by_class ON job (resource_class, priority DESC, id)
    WHERE state = 1 AND held IS NULL AND retired = 0 AND reserve IS NULL AND not_before IS NULL;
