-- Templates and resource classes.

-- name: highest_template
-- The highest template id in use.
SELECT coalesce(max(id), 0) FROM template;

-- name: find_resource_class
-- The class with exactly these resources.
SELECT id FROM resource_class
WHERE cpus = :cpus AND memory = :memory AND gpus = :gpus AND time = :time AND licences = :licences;

-- name: insert_resource_class
-- A new resource class.
INSERT INTO resource_class (cpus, memory, gpus, time, licences) VALUES (:cpus, :memory, :gpus, :time, :licences)
RETURNING id;

-- name: resources
-- The resources of resource classes.
SELECT id, cpus, memory, gpus, time, licences FROM resource_class WHERE id IN @classes;

-- name: insert_template
-- A template that no earlier revision had.
-- row: id, workflow, revision, name, body, resource_class
INSERT INTO template (id, workflow, revision, name, body, resource_class)
VALUES (:id, :workflow, :revision, :name, :body, :resource_class);

-- name: template_bodies
-- Every template that a workflow has had, oldest first.
SELECT id, body FROM template WHERE workflow = :workflow ORDER BY id;

-- name: template_body
-- One template.
SELECT body FROM template WHERE id = :id;
