-- Where nobody names tenants every job would stand in both indexes on the state, which are written at every change of a job.
DROP INDEX jobs_tenant;
CREATE INDEX jobs_tenant ON jobs (tenant, state) WHERE tenant <> '';
