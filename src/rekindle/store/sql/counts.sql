-- How many jobs of a workflow and a resource class are in which state.

-- name: add_to_count
-- Change how many jobs of a class are in a state.
-- row: workflow, resource_class, state, n
INSERT INTO workflow_count (workflow, resource_class, state, n) VALUES (:workflow, :resource_class, :state, :n)
ON CONFLICT (workflow, resource_class, state) DO UPDATE SET n = workflow_count.n + excluded.n;
