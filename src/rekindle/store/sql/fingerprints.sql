-- Fingerprints of attempts, and the cache of file digests.

-- name: put
-- One part of an attempt's fingerprint; an existing part is replaced.
-- distinct row: attempt, part, document
INSERT INTO fingerprint (attempt, part, document) VALUES (:attempt, :part, :document)
ON CONFLICT (attempt, part) DO UPDATE SET document = excluded.document;

-- name: put_code
-- The digest of an attempt's code, before its end says it.
-- row: code, attempt
UPDATE attempt SET code = :code WHERE id = :attempt;

-- name: get
-- One part of the fingerprints of attempts, where it was recorded.
SELECT attempt, document FROM fingerprint WHERE attempt IN @attempts AND part = :part;

-- name: with_texts
-- The attempts in whose recorded files one of several texts occurs, the newest first; live ones, or archived ones too. No
-- index: 100,000 attempts take half a second.
SELECT fingerprint.attempt, fingerprint.document FROM fingerprint JOIN attempt ON attempt.id = fingerprint.attempt
WHERE fingerprint.part = 'files' AND (attempt.archived_by IS NULL OR CAST(:archived AS BIGINT) = 1)
    AND EXISTS (
        SELECT 1 FROM json_each(CAST(:patterns AS TEXT)) AS wanted
        WHERE fingerprint.document LIKE wanted.value ESCAPE '!'
    )
ORDER BY fingerprint.attempt DESC;

-- name: needed_in
-- What the attempts of workflows needed.
SELECT fingerprint.attempt, fingerprint.document FROM fingerprint JOIN attempt ON attempt.id = fingerprint.attempt
WHERE fingerprint.part = 'needed' AND attempt.workflow IN @workflows;

-- name: kept_steps_in
-- The attempts of workflows that keep steps of earlier ones, or stand for one.
SELECT id, builds_on FROM attempt WHERE builds_on IS NOT NULL AND workflow IN @workflows
UNION ALL
SELECT id, reused_from FROM attempt WHERE reused_from > 0 AND workflow IN @workflows;

-- name: aside
-- The partial outputs of attempts and of those that they build on, newest first, and whether each attempt may have put
-- back what older ones had set aside: whether it has begun a step (4: completed).
WITH RECURSIVE chain (attempt, source) AS (
    SELECT id, id FROM attempt WHERE id IN @attempts
    UNION
    SELECT chain.attempt, attempt.builds_on FROM chain JOIN attempt ON attempt.id = chain.source
    WHERE attempt.builds_on IS NOT NULL
)
SELECT chain.attempt, fingerprint.document, attempt.started IS NOT NULL AND (
    coalesce(attempt.cause, '') <> 'start'
    OR EXISTS (SELECT 1 FROM step WHERE step.attempt = chain.source AND step.state = 4 AND step.kept_from IS NULL)
) AS has_begun
FROM chain JOIN attempt ON attempt.id = chain.source
LEFT JOIN fingerprint ON fingerprint.attempt = chain.source AND fingerprint.part = 'partial'
ORDER BY chain.attempt, chain.source DESC;

-- name: partial_of_failures
-- The partial outputs of failed attempts of jobs, live ones or all, with the projects' folders.
SELECT signature.digest AS signature, attempt.id AS attempt, attempt.job, workflow.directory, fingerprint.document
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'partial'
    JOIN signature ON signature.id = attempt.signature JOIN workflow ON workflow.id = attempt.workflow
WHERE attempt.job IN @jobs AND (:archived = 1 OR attempt.archived_by IS NULL) ORDER BY attempt.id;

-- name: put_source
-- Modules, by the digest of all of them together.
INSERT INTO source (digest, modules) VALUES (:digest, :modules) ON CONFLICT (digest) DO NOTHING;

-- name: sources
-- The modules behind digests.
SELECT digest, modules FROM source WHERE digest IN @digests;

-- name: accept
-- The basis that an attempt is compared with from now on.
-- row: rerun, attempt, document
INSERT INTO accepted (rerun, attempt, document) VALUES (:rerun, :attempt, :document);

-- name: accepted
-- The newest accepted basis in force of attempts.
SELECT accepted.attempt, accepted.rerun, accepted.document FROM accepted JOIN rerun ON rerun.id = accepted.rerun
WHERE accepted.attempt IN @attempts AND rerun.undone IS NULL AND NOT EXISTS (
    SELECT 1 FROM accepted AS newer JOIN rerun AS accepting ON accepting.id = newer.rerun
    WHERE newer.attempt = accepted.attempt AND newer.rerun > accepted.rerun AND accepting.undone IS NULL
);

-- name: known_files
-- The cached digests of files.
SELECT path, size, mtime_ns, inode, taken_ns, digest, ctime_ns FROM file WHERE path IN @paths;

-- name: remember_file
-- The digest of a file; an older record does not replace a newer one.
-- row: path, size, mtime_ns, inode, taken_ns, digest, ctime_ns
INSERT INTO file (path, size, mtime_ns, inode, taken_ns, digest, ctime_ns)
VALUES (:path, :size, :mtime_ns, :inode, :taken_ns, :digest, :ctime_ns)
ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
    taken_ns = excluded.taken_ns, digest = excluded.digest, ctime_ns = excluded.ctime_ns
    WHERE excluded.taken_ns >= file.taken_ns;

-- name: known_below
-- The cached digests of the files within folders.
SELECT file.path, file.size, file.mtime_ns, file.inode, file.taken_ns, file.digest, file.ctime_ns
FROM json_each(CAST(:folders AS TEXT)) AS folder JOIN file ON file.path >= folder.value || '/' AND file.path < folder.value || '0';
