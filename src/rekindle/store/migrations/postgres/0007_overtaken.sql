-- Completed jobs that need a job that is not done, which `status` counts.

CREATE INDEX job_overtaken ON job (workflow, state) WHERE state = 4 AND unmet > 0 AND retired = 0;
