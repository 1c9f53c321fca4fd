-- A record may name an artifact, which then stays as long as the record.
ALTER TABLE records ADD COLUMN digest TEXT;
CREATE INDEX records_digest ON records (digest) WHERE digest IS NOT NULL;
