-- Named queries. Words in braces stand for another block of this file, or for text the code fills in ({allowed}, {where}).

-- name: job_columns
id, kind, payload, created, requirements, priority, tenant, not_before, key, batch, retry_of, options,
state, attempt, token, worker, due, started, finished, expires, outcome, code, message, result,
progress, tally, cancel_requested, events

-- name: insert_job
INSERT INTO jobs ({job_columns})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- Most jobs are submitted without anything rare, and nothing has happened to them: few parameters, the rest is constant.
-- name: insert_plain_job
INSERT INTO jobs ({job_columns})
VALUES (
    ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, NULL, NULL,
    ?, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, '', '', NULL,
    NULL, NULL, 0, 1
);

-- name: update_job
UPDATE jobs SET
    state = ?, attempt = ?, token = ?, worker = ?, due = ?, started = ?, finished = ?, expires = ?, outcome = ?, code = ?,
    message = ?, result = ?, progress = ?, tally = ?, cancel_requested = ?, events = ?
WHERE id = ? AND ({allowed});

-- The two most frequent changes of the most jobs: leased, and ended without anything to tell but the result.
-- name: update_begun_job
UPDATE jobs SET
    state = ?, attempt = ?, token = ?, worker = ?, started = ?, events = ?, due = NULL, finished = NULL, expires = NULL,
    outcome = NULL, code = '', message = '', result = NULL, progress = NULL, tally = NULL, cancel_requested = 0
WHERE id = ? AND ({allowed});

-- name: update_ended_job
UPDATE jobs SET
    state = ?, attempt = ?, token = ?, worker = ?, started = ?, events = ?, due = NULL, finished = ?, expires = ?,
    outcome = ?, code = '', message = '', result = ?, progress = NULL, tally = NULL, cancel_requested = 0
WHERE id = ? AND ({allowed});

-- name: insert_entry
INSERT INTO entries (job, "offset", at, event, data) VALUES (?, ?, ?, ?, ?);

-- name: insert_batch
INSERT INTO batches (id, tenant, total) VALUES (?, ?, ?);

-- name: add_to_batch
UPDATE batches SET
    total = total + ?, succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ?
WHERE id = ?;

-- name: put_notification
INSERT OR REPLACE INTO notifications (id, job, channel, address, event, created, due, attempts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_notification
DELETE FROM notifications WHERE id = ?;

-- name: put_record
INSERT OR REPLACE INTO records (space, key, value, expires, digest) VALUES (?, ?, ?, ?, ?);

-- name: delete_record
DELETE FROM records WHERE space = ? AND key = ?;

-- name: put_segment
INSERT OR REPLACE INTO segments (job, number, succeeded, failed, cancelled, attempts) VALUES (?, ?, ?, ?, ?, ?);

-- name: insert_block
INSERT INTO blocks (job, segment, results) VALUES (?, ?, ?);

-- name: use_artifact
INSERT OR IGNORE INTO artifact_uses (digest, job) VALUES (?, ?);

-- name: next_epoch
UPDATE meta SET epoch = epoch + 1;

-- name: boot
SELECT
    epoch,
    max(
        last_job,
        coalesce((SELECT max(id) FROM jobs), 0),
        coalesce((SELECT max(id) FROM batches), 0)
    ),
    max(last_notification, coalesce((SELECT max(id) FROM notifications), 0))
FROM meta;

-- name: remember_job
UPDATE meta SET last_job = max(last_job, ?);

-- name: remember_notification
UPDATE meta SET last_notification = max(last_notification, ?);

-- name: pending_columns
id, kind, state, requirements, priority, tenant, created, due, options

-- name: pending
SELECT {pending_columns} FROM jobs WHERE state = 'waiting' AND id > ?1
UNION ALL
SELECT {pending_columns} FROM jobs WHERE state = 'ready' AND id > ?1
UNION ALL
SELECT {pending_columns} FROM jobs WHERE state = 'leased' AND id > ?1
ORDER BY id LIMIT ?2;

-- name: job
SELECT {job_columns} FROM jobs WHERE id = ?;

-- name: jobs
SELECT {job_columns} FROM jobs WHERE id IN (SELECT value FROM json_each(?));

-- name: by_key
SELECT id FROM jobs WHERE tenant = ? AND key = ?;

-- name: search
SELECT {job_columns} FROM jobs WHERE {where} ORDER BY id {direction} LIMIT ?;

-- name: batch
SELECT total, succeeded, failed, cancelled FROM batches WHERE id = ?;

-- name: entries
SELECT job, "offset", at, event, data FROM entries WHERE job = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?;

-- name: segments
SELECT job, number, succeeded, failed, cancelled, attempts FROM segments WHERE job = ? ORDER BY number;

-- name: blocks
SELECT job, segment, results FROM blocks WHERE job = ? AND segment = ? ORDER BY id;

-- name: notifications
SELECT id, job, channel, address, event, created, due, attempts FROM notifications WHERE id > ? ORDER BY id LIMIT ?;

-- name: record
SELECT space, key, value, expires, digest FROM records WHERE space = ? AND key = ?;

-- name: expired
SELECT {job_columns} FROM jobs
WHERE expires <= ? AND +state IN ('succeeded', 'failed', 'cancelled')
  AND NOT EXISTS (SELECT 1 FROM notifications WHERE notifications.job = jobs.id)
ORDER BY expires, id LIMIT ?;

-- name: digests_of_job
SELECT digest FROM artifact_uses WHERE job = ?;

-- name: artifact_in_use
SELECT 1 FROM artifact_uses WHERE digest = ?1 UNION ALL SELECT 1 FROM records WHERE digest = ?1 LIMIT 1;

-- name: delete_job
DELETE FROM jobs WHERE id = ?;

-- name: delete_entries
DELETE FROM entries WHERE job = ?;

-- name: delete_segments
DELETE FROM segments WHERE job = ?;

-- name: delete_blocks
DELETE FROM blocks WHERE job = ?;

-- name: delete_notifications
DELETE FROM notifications WHERE job = ?;

-- name: greatest_notification
SELECT coalesce(max(id), 0) FROM notifications;

-- name: delete_uses
DELETE FROM artifact_uses WHERE job = ?;

-- name: delete_empty_batch
DELETE FROM batches WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE batch = ?1);

-- name: delete_expired_records
DELETE FROM records WHERE expires <= ? RETURNING digest;
