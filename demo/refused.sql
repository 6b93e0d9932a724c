-- A row that cannot become a post is refused at INSERT, in words that say what to change.
insert into crier.jobs (account, text, media)
values ('@acme', 'Five pictures at once',
        '[{"path": "1.png"}, {"path": "2.png"}, {"path": "3.png"}, {"path": "4.png"}, {"path": "5.png"}]');
