-- "What goes out tomorrow", "what is late", `crier jobs list --due`: ranges of run_at among all that wait, whatever else waits. In two parts,
-- so that a campaign that was paused with a million late jobs is not walked through to find those that are to go out.
create index jobs_open_run_at on crier.jobs_open (run_at) where state = 'scheduled';
create index jobs_open_stopped on crier.jobs_open (run_at) where state <> 'scheduled';
