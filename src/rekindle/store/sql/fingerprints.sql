-- What attempts depended on, and what files held when they were last read.

-- name: put
-- One part of an attempt's fingerprint; told again, it is the same.
-- row: attempt, part, document
INSERT INTO fingerprint (attempt, part, document) VALUES (:attempt, :part, :document)
ON CONFLICT (attempt, part) DO UPDATE SET document = excluded.document;

-- name: get
-- One part of the fingerprints of some attempts, where it was recorded.
SELECT attempt, document FROM fingerprint WHERE attempt IN @attempts AND part = :part;

-- name: aside
-- What some attempts, and those that they build on, have left without completing, the newest first; and whether the
-- attempt may have put back what older ones had set aside: it has begun a step (4: completed).
WITH RECURSIVE chain (attempt, source) AS (
    SELECT id, id FROM attempt WHERE id IN @attempts
    UNION
    SELECT chain.attempt, attempt.builds_on FROM chain JOIN attempt ON attempt.id = chain.source
    WHERE attempt.builds_on IS NOT NULL
)
SELECT chain.attempt, fingerprint.document, attempt.started IS NOT NULL AND (
    attempt.cause IS NOT 'start'
    OR EXISTS (SELECT 1 FROM step WHERE step.attempt = chain.source AND step.state = 4 AND step.kept_from IS NULL)
)
FROM chain JOIN attempt ON attempt.id = chain.source
LEFT JOIN fingerprint ON fingerprint.attempt = chain.source AND fingerprint.part = 'partial'
ORDER BY chain.attempt, chain.source DESC;

-- name: partial_of_failures
-- What failed attempts of some jobs have left without completing, live ones' or all, with the projects' folders.
SELECT signature.digest, attempt.id, attempt.job, workflow.directory, fingerprint.document
FROM attempt JOIN fingerprint ON fingerprint.attempt = attempt.id AND fingerprint.part = 'partial'
    JOIN signature ON signature.id = attempt.signature JOIN workflow ON workflow.id = attempt.workflow
WHERE attempt.job IN @jobs AND (:archived = 1 OR attempt.archived_by IS NULL) ORDER BY attempt.id;

-- name: put_source
-- Modules, by the digest of all of them together.
INSERT INTO source (digest, modules) VALUES (:digest, :modules) ON CONFLICT (digest) DO NOTHING;

-- name: sources
-- The modules behind some digests.
SELECT digest, modules FROM source WHERE digest IN @digests;

-- name: accept
-- What an attempt is measured by from now on.
-- row: rerun, attempt, document
INSERT INTO accepted (rerun, attempt, document) VALUES (:rerun, :attempt, :document);

-- name: accepted
-- The newest of what was accepted for some attempts and stands.
SELECT accepted.attempt, max(accepted.rerun), accepted.document FROM accepted JOIN rerun ON rerun.id = accepted.rerun
WHERE accepted.attempt IN @attempts AND rerun.undone IS NULL GROUP BY accepted.attempt;

-- name: known_files
-- What some files held when they were last read.
SELECT path, size, mtime_ns, inode, taken_ns, digest, ctime_ns FROM file WHERE path IN @paths;

-- name: remember_file
-- What a file held.
-- row: path, size, mtime_ns, inode, taken_ns, digest, ctime_ns
INSERT INTO file (path, size, mtime_ns, inode, taken_ns, digest, ctime_ns)
VALUES (:path, :size, :mtime_ns, :inode, :taken_ns, :digest, :ctime_ns)
ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode,
    taken_ns = excluded.taken_ns, digest = excluded.digest, ctime_ns = excluded.ctime_ns
    WHERE excluded.taken_ns >= file.taken_ns;

-- name: known_below
-- What the files within some folders held when they were last read.
SELECT file.path, file.size, file.mtime_ns, file.inode, file.taken_ns, file.digest, file.ctime_ns
FROM json_each(:folders) AS folder JOIN file ON file.path >= folder.value || '/' AND file.path < folder.value || '0';
