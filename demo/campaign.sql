-- A small campaign for two accounts, in plain SQL. `crier demo` runs this file as it stands.
--
-- On a Postgres of your own, beside `crier run`: put your two handles in the place of @acme and @orbit, make the two
-- media files with `crier demo --files-only "$CRIER__MEDIA__ROOT"`, then psql "$DATABASE_URL" -f demo/campaign.sql

-- Three columns are enough: who, what, and when. Without run_at it goes out now.
insert into crier.jobs (account, text, campaign)
values ('@acme', 'Hello from a row in Postgres!', 'demo');

-- A thread of three. Each post replies to the one before, once that is published.
do $$
declare
  first bigint;
  second bigint;
begin
  insert into crier.jobs (account, text, campaign)
  values ('@acme', 'A thread. Its posts go out one after the other (1/3)', 'demo') returning id into first;
  insert into crier.jobs (account, text, campaign, after)
  values ('@acme', 'Each replies to the one before, never to nothing (2/3)', 'demo', first) returning id into second;
  insert into crier.jobs (account, text, campaign, after)
  values ('@acme', 'If one fails, those after it say so and stay here (3/3)', 'demo', second);
end $$;

-- Two accounts at the same moment: neither waits for the other. X will turn @orbit away with a 429 (the demo sees to it):
-- crier waits for the reset that X names, and not a call longer. Its token is about to expire, too.
insert into crier.jobs (account, text, campaign, run_at)
values ('@acme', 'Launch in a moment: five seconds after the insert', 'demo', now() + interval '5 seconds'),
       ('@orbit', 'The same launch, seen from the other account', 'demo', now() + interval '5 seconds');

-- A picture with a description for those who do not see it. It is uploaded ahead of its time.
insert into crier.jobs (account, text, campaign, run_at, media)
values ('@acme', 'The picture', 'demo', now() + interval '8 seconds',
        '[{"path": "picture.png", "alt_text": "Bands of colour that run from dark blue to orange, like the sky before sunrise"}]');

-- A video of more than 32 MiB: uploaded in segments, processed by X, and only then posted.
insert into crier.jobs (account, text, campaign, run_at, media)
values ('@acme', 'And the film of it', 'demo', now() + interval '14 seconds', '[{"path": "film.mp4"}]');

-- A file that nobody has put there. crier warns within seconds, in the column `warning`; when the time has come the job
-- fails by itself, says why, and holds up nobody else.
insert into crier.jobs (account, text, campaign, run_at, media, max_lateness)
values ('@orbit', 'This one has lost its picture', 'demo', now() + interval '10 seconds', '[{"path": "nobody-made-this.png"}]',
        '2 seconds');
