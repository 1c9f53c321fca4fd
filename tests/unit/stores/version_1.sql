-- A database as the first release wrote it. It never changes.
BEGIN TRANSACTION;
CREATE TABLE artifact_uses (
    digest TEXT NOT NULL,
    job    INTEGER NOT NULL,
    PRIMARY KEY (digest, job)
) WITHOUT ROWID;
CREATE TABLE batches (
    id        INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL,
    total     INTEGER NOT NULL,
    succeeded INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE blocks (
    id      INTEGER PRIMARY KEY,
    job     INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    results BLOB NOT NULL                -- MessagePack [[index, state, attempt, result, code, message], …]
);
CREATE TABLE entries (
    job      INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    at       REAL NOT NULL,
    event    TEXT NOT NULL,
    data     BLOB,
    PRIMARY KEY (job, "offset")
) WITHOUT ROWID;
INSERT INTO "entries" VALUES(1,0,0.0,'submitted',NULL);
INSERT INTO "entries" VALUES(1,1,1.0,'leased',NULL);
INSERT INTO "entries" VALUES(1,2,2.0,'succeeded',NULL);
CREATE TABLE jobs (
    id               INTEGER PRIMARY KEY,
    kind             TEXT NOT NULL,
    payload          BLOB NOT NULL,
    created          REAL NOT NULL,
    requirements     TEXT,               -- JSON [[name, value], …], sorted; NULL if there are none
    priority         INTEGER NOT NULL,
    tenant           TEXT NOT NULL,
    not_before       REAL,
    key              TEXT,
    batch            INTEGER,
    retry_of         INTEGER,
    options          BLOB,               -- MessagePack [after, array, overrides, notify]; NULL if all are empty

    -- From here on columns change with events; everything above is fixed by the submit.
    state            TEXT NOT NULL,
    attempt          INTEGER NOT NULL,
    token            INTEGER NOT NULL,
    worker           TEXT,
    due              REAL,
    started          REAL,
    finished         REAL,
    expires          REAL,
    outcome          TEXT,
    code             TEXT NOT NULL,
    message          TEXT NOT NULL,
    result           BLOB,
    progress         BLOB,               -- MessagePack {done, total, message}
    tally            BLOB,               -- MessagePack {total, succeeded, failed, cancelled}
    cancel_requested INTEGER NOT NULL,
    events           INTEGER NOT NULL
);
INSERT INTO "jobs" VALUES(1,'echo',X'7B2261223A20317D',1.0,'[["kind","echo"]]',0,'',NULL,'k',NULL,NULL,X'94920708C0C090','succeeded',1,5,'w',NULL,2.0,3.0,4.0,'succeeded','','',X'5B315D',NULL,NULL,0,3);
CREATE TABLE meta (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    epoch             INTEGER NOT NULL,  -- how often the store was opened
    last_job          INTEGER NOT NULL,  -- the greatest ids that were deleted, so that none is issued twice
    last_notification INTEGER NOT NULL
);
INSERT INTO "meta" VALUES(1,3,9,2);
CREATE TABLE notifications (
    id       INTEGER PRIMARY KEY,
    job      INTEGER NOT NULL,
    channel  TEXT NOT NULL,
    address  TEXT NOT NULL,
    event    TEXT NOT NULL,
    created  REAL NOT NULL,
    due      REAL NOT NULL,
    attempts INTEGER NOT NULL
);
CREATE TABLE records (
    space   TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   BLOB NOT NULL,
    expires REAL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
INSERT INTO "records" VALUES('longpost','token',X'31',NULL);
CREATE TABLE segments (
    job       INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    succeeded BLOB NOT NULL,
    failed    BLOB NOT NULL,
    cancelled BLOB NOT NULL,
    attempts  BLOB,                      -- MessagePack {member: attempts}; NULL if empty
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_tenant ON jobs (tenant, state);
CREATE INDEX jobs_kind ON jobs (kind);
CREATE INDEX jobs_batch ON jobs (batch) WHERE batch IS NOT NULL;
CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;
CREATE UNIQUE INDEX jobs_key ON jobs (tenant, key) WHERE key IS NOT NULL;
CREATE INDEX blocks_segment ON blocks (job, segment);
CREATE INDEX notifications_job ON notifications (job);
CREATE INDEX records_expires ON records (expires) WHERE expires IS NOT NULL;
CREATE INDEX artifact_uses_job ON artifact_uses (job);
COMMIT;
PRAGMA user_version = 1;
