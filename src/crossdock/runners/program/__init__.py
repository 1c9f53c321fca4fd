"""The runner of submitted programs: it evaluates an archive with a job configuration under a sandbox."""
