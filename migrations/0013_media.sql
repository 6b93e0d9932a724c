-- Segments that X takes of an account, kept for the next upload; and uploads that several accounts use.

alter table crier.accounts
  add column segment_bytes integer check (segment_bytes > 0),
  add column segment_noted_at timestamptz;
comment on column crier.accounts.segment_bytes is 'Size of the segments of an upload after X found larger ones too large. Holds for a day from segment_noted_at.';

-- Whoever may use an upload of another account looks for it by the file's name.
create index media_uploads_lent on crier.media_uploads ((coalesce(item ->> 'path', item ->> 'url'))) where item ? 'additional_owners';

comment on column crier.jobs.media is 'Up to 4 of {"path" or "url", "alt_text", "category", "subtitles": [{"path", "language", "name"}], "shared", "additional_owners"}. '
  'A path is relative to the media folder; a url is fetched when the file is staged. "additional_owners" are X ids of other accounts that may use the upload: '
  'a job of such an account whose item is the same but for "shared": true uses it instead of uploading the file again.';
