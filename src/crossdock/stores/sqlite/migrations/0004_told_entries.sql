-- What the snapshot of a job tells by itself is not in its log: entries of earlier versions that say it are in the way of
-- those that follow. The conditions are those of core/log.py.
DELETE FROM entries WHERE job IN (
    SELECT id FROM jobs
    WHERE events = 1
       OR (attempt = 1 AND worker IS NOT NULL
           AND (events = 2 OR (events = 3 AND state IN ('succeeded', 'failed', 'cancelled'))))
);
