//! The rows: every column, every kind of nonsense. `'ME'` stands for the account.

/// Texts, as SQL.
const TEXTS: &[&str] = &[
    "''",
    "'   '",
    r"E'\n\t\r'",
    r"E'\u200b\u2060'",
    "repeat('x', 10000000)",
    "repeat('𝒳', 25000)",
    "repeat('x', 280)",
    r"E'bell \u0007 red \u001b[31m clear \u001b[2J title \u001b]0;owned\u0007 c1 \u009b31m del \u007f'",
    r"E'\u202eright to left\u202c \u2066isolated\u2069'",
    r"'a' || repeat(E'\u0301', 5000)",
    r"'a' || repeat(E'\u0301', 100)",
    r"repeat(E'\u200d👩', 60)",
    r"E'x\n2026-01-01T00:00:00Z ERROR crier: a forged line'",
    r"E'tab\tand\rreturn'",
    "$$'; drop table crier.jobs cascade; --$$",
    "'%s %n %x {} {0} {text} ${HOME} $(touch /tmp/owned) `id` \\x00 \\u0000'",
    "'<script>alert(1)</script> &amp; &lt; &'",
    r"E'\U0010ffff \ufffe \ufdd0 \ufeff'",
    "'https://example.com/' || repeat('a', 4000)",
    "repeat('https://t.co/a ', 200)",
    "'@acme ' || repeat('#', 100)",
    "chr(0)",
    r"convert_from('\xff\xfe', 'UTF8')",
    r"convert_from('\xeda080', 'UTF8')",
    "null",
];

/// Media, as SQL.
const MEDIA: &[&str] = &[
    "null",
    "'null'",
    "'1'",
    "'\"a.png\"'",
    "'{}'",
    "'[null]'",
    "'[[]]'",
    "'[1e400]'",
    r#"'[{"path": 1}]'"#,
    r#"'[{"path": null}]'"#,
    r#"'[{"path": ["a.png"]}]'"#,
    r#"'[{"path": ""}]'"#,
    r#"'[{"path": "../../../etc/passwd"}]'"#,
    r#"'[{"path": "/etc/passwd"}]'"#,
    r#"'[{"path": "a.png/../../x"}]'"#,
    r#"'[{"path": "..\\..\\x"}]'"#,
    r#"'[{"path": "c:\\x"}]'"#,
    r#"'[{"path": "none\n\u001b[31m.png"}]'"#,
    r#"'[{"path": "\u0000"}]'"#,
    r#"'[{"path": "\ud800"}]'"#,
    r#"'[{"path": "a.png", "path": "../x"}]'"#,
    r#"'[{"path": "a.png", "alt_text": 7}]'"#,
    r#"'[{"path": "a.png", "shared": "yes"}]'"#,
    r#"'[{"path": "a.png", "category": {"tweet_image": 1}}]'"#,
    r#"'[{"path": "a.png", "subtitles": [{"path": "../x", "language": "EN"}], "category": "tweet_video"}]'"#,
    r#"'[{"path": "a.png", "additional_owners": ["-1"]}]'"#,
    r#"'[{"path": "a.png"}, {"path": "a.png"}, {"path": "a.png"}, {"path": "a.png"}, {"path": "a.png"}]'"#,
    "(select jsonb_agg(jsonb_build_object('path', 'a.png')) from generate_series(1, 100000))",
    "jsonb_build_array(jsonb_build_object('path', repeat('a', 60000)))",
    "jsonb_build_array(jsonb_build_object('path', repeat('a/', 2000) || 'a.png'))",
    "jsonb_build_array(jsonb_build_object('path', 'a.png', 'alt_text', repeat('x', 1000000)))",
    "jsonb_build_array(jsonb_build_object('path', 'a.png', repeat('k', 60000), 1))",
    "('[{\"path\": ' || repeat('[', 6000) || repeat(']', 6000) || '}]')::jsonb",
    r#"'[{"url": "https://127.0.0.1/"}]'"#,
    r#"'[{"url": "http://169.254.169.254/latest/meta-data/"}]'"#,
    r#"'[{"url": "https://2130706433/"}]'"#,
    r#"'[{"url": "https://0177.0.0.1/"}]'"#,
    r#"'[{"url": "https://0x7f000001/"}]'"#,
    r#"'[{"url": "https://[::ffff:10.0.0.1]/"}]'"#,
    r#"'[{"url": "https://[64:ff9b::7f00:1]/"}]'"#,
    r#"'[{"url": "https://user:pw@example.com/"}]'"#,
    r#"'[{"url": "file:///etc/passwd"}]'"#,
    r#"'[{"url": "https://localhost./"}]'"#,
    r#"'[{"url": "https://example.com\\@127.0.0.1/"}]'"#,
];

/// Options, as SQL.
const OPTIONS: &[&str] = &[
    "null",
    "'null'",
    "'[]'",
    "'\"x\"'",
    r#"'{"text": "evil"}'"#,
    r#"'{"media": {"media_ids": ["1"]}}'"#,
    r#"'{"media": "x"}'"#,
    r#"'{"media_ids": ["1"]}'"#,
    r#"'{"TEXT": "evil"}'"#,
    r#"'{"poll": 1}'"#,
    r#"'{"poll": {"options": ["a", "b"], "duration_minutes": "10"}}'"#,
    r#"'{"poll": {"options": [1, {}], "duration_minutes": 10}}'"#,
    r#"'{"poll": {"options": ["a", "b"], "duration_minutes": 1e400}}'"#,
    r#"'{"poll": {"options": ["a", "b"], "duration_minutes": 10.5}}'"#,
    r#"'{"quote_tweet_id": 1}'"#,
    r#"'{"quote_tweet_id": "../1"}'"#,
    r#"'{"quote_tweet_id": "99999999999999999999"}'"#,
    r#"'{"reply": {"in_reply_to_tweet_id": "1; drop"}}'"#,
    r#"'{"reply": []}'"#,
    r#"'{"reply_settings": ["following"]}'"#,
    r#"'{"geo": {"place_id": 1e400}}'"#,
    r#"'{"geo": "x", "geo": {"place_id": "\u001b[31m"}}'"#,
    r#"'{"community_id": "\u0000"}'"#,
    r#"'{"card_uri": "\udead"}'"#,
    r#"'{"nullcast": "false"}'"#,
    r#"'{"made_with_ai": 1, "paid_partnership": null}'"#,
    r#"'{"v1": {"status": "evil"}}'"#,
    r#"'{"edit_options": {"previous_post_id": "1"}}'"#,
    "jsonb_build_object(repeat('k', 60000), 1)",
    "(select jsonb_object_agg('k' || n, n) from generate_series(1, 100000) n)",
    "jsonb_build_object('card_uri', repeat('x', 60000))",
    "('{\"geo\": ' || repeat('[', 6000) || repeat(']', 6000) || '}')::jsonb",
    "('{\"geo\": ' || repeat('{\"a\":', 30) || '1' || repeat('}', 30) || '}')::jsonb",
];

/// Other columns and their values, as SQL.
const OTHERS: &[(&str, &[&str])] = &[
    (
        "account",
        &[
            "null",
            "''",
            "'@'",
            "' @@ME '",
            "'nobody'",
            "repeat('x', 1000000)",
            r"E'ME\n'",
            r"E'\u001b[31mME'",
            r"E'ME\u200b'",
            "$$' or true --$$",
            "'*'",
            "'%'",
        ],
    ),
    (
        "run_at",
        &[
            "null",
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'294276-12-31'",
            "'294277-01-01'",
            "'1970-01-01'",
            "'9999-12-31 23:59:59.999999+00'",
            "'2026-02-30'",
            "'2026-06-30 23:59:60+00'",
            "'2026-01-01 25:00'",
            "'now'",
            "''",
            "'2000-01-01 00:00+15:59'",
        ],
    ),
    (
        "priority",
        &[
            "null",
            "-32768",
            "32767",
            "32768",
            "-99999999999",
            "1.5",
            "'NaN'",
            "'high'",
        ],
    ),
    ("max_attempts", &["null", "0", "-1", "101", "32767", "100"]),
    (
        "max_lateness",
        &[
            "'-1 microsecond'",
            "'0'",
            "'178000000 years'",
            "'100 years 1 day'",
            "'-100 years 200 years'",
            "'1 mon -40 days'",
            "'P1Y'",
            "'soon'",
            "'99999999999 days'",
        ],
    ),
    (
        "after",
        &[
            "0",
            "-1",
            "9223372036854775807",
            "9223372036854775808",
            "currval('crier.jobs_id_seq')",
            "'x'",
        ],
    ),
    (
        "dedupe_key",
        &[
            "''",
            "' '",
            "repeat('k', 1000000)",
            "repeat('𝒳', 200)",
            r"E'\u0001\n'",
        ],
    ),
    (
        "campaign",
        &[
            "''",
            "' '",
            "repeat('c', 1000000)",
            "repeat('𝒳', 200)",
            r"E'two\nlines\u001b[2J'",
            "$$'); drop schema crier cascade; --$$",
        ],
    ),
];

/// What anybody may try who may insert.
pub(super) fn inserts() -> Vec<String> {
    let mut rows = Vec::new();
    for text in TEXTS {
        rows.push(format!(
            "insert into crier.jobs (account, text) values ('ME', {text})"
        ));
    }
    for (column, values) in [("media", MEDIA), ("options", OPTIONS)] {
        for (number, value) in values.iter().enumerate() {
            rows.push(format!(
                "insert into crier.jobs (account, text, {column}) values ('ME', '{column} {number}', {value})"
            ));
        }
    }
    for (column, values) in OTHERS {
        for (number, value) in values.iter().enumerate() {
            rows.push(if *column == "account" {
                format!("insert into crier.jobs (account, text) values ({value}, 'account {number}')")
            } else {
                format!("insert into crier.jobs (account, text, {column}) values ('ME', '{column} {number}', {value})")
            });
        }
    }
    rows
}

/// Columns that crier writes, as an owner may write them.
const WRITTEN: &[(&str, &[&str])] = &[
    (
        "state",
        &[
            "'published'",
            "'unknown'",
            "'failed'",
            "'paused'",
            "'sending'",
            "null",
            "''",
        ],
    ),
    ("attempts", &["-1", "1", "32767", "null"]),
    ("crashes", &["-1", "32767"]),
    (
        "next_attempt_at",
        &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'294276-12-31'",
        ],
    ),
    ("post_id", &["'1'", r"E'../../x\n'", "repeat('9', 1000000)"]),
    ("published_at", &["'infinity'", "now()"]),
    (
        "error",
        &[
            "'{\"code\": 1e400}'",
            "'[]'",
            "(repeat('[', 6000) || repeat(']', 6000))::jsonb",
        ],
    ),
    (
        "warning",
        &[
            "'{\"code\": 1e400}'",
            "'[]'",
            "(repeat('[', 6000) || repeat(']', 6000))::jsonb",
        ],
    ),
    (
        "created_at",
        &[
            "'infinity'",
            "'-infinity'",
            "'294276-12-31'",
            "'4713-01-01 BC'",
        ],
    ),
    (
        "updated_at",
        &["'infinity'", "'-infinity'", "'294276-12-31'"],
    ),
    ("finished_at", &["'infinity'", "now()"]),
    ("account_id", &["0", "-1", "987654321"]),
    ("recurring_id", &["0", "-1", "987654321"]),
    ("miss_at", &["'infinity'", "'-infinity'"]),
    ("held", &["-1", "32767", "1", "2"]),
    ("revision", &["-1", "2147483647", "7"]),
];

/// What only an owner may try.
pub(super) fn inserts_of_owner() -> Vec<String> {
    let each = |(column, values): &(&str, &'static [&'static str])| -> Vec<String> {
        let row = |value: &&str| {
            format!(
                "insert into crier.jobs (account, text, {column}) values ('owner', '{column} ' || md5($v${value}$v$), {value})"
            )
        };
        values.iter().map(row).collect()
    };
    WRITTEN.iter().flat_map(each).collect()
}

/// Edits of one waiting row, by an owner.
pub(super) fn edits() -> Vec<String> {
    let columns = OTHERS.iter().chain(WRITTEN).copied().chain([
        ("text", TEXTS),
        ("media", MEDIA),
        ("options", OPTIONS),
    ]);
    let edit = |column: &str, value: &str| {
        let value = value.replace("ME", "owner");
        format!(
            "update crier.jobs set {column} = {value} where priority = 77 and state = 'scheduled'"
        )
    };
    columns
        .flat_map(|(column, values)| values.iter().map(move |value| edit(column, value)))
        // These end or move the row, of which others still need to be tried.
        .filter(|edit| !edit.contains("set state") && !edit.contains("set priority"))
        .collect()
}

/// Rows past all triggers, due at once, of an account of their own. What a restore or a replica may bring.
pub(super) fn past_all() -> Vec<String> {
    let row = |columns: &str, values: &str| {
        format!(
            "insert into crier.jobs (account, account_id, campaign, {columns})
             select 'past', (select id from crier.accounts where handle = 'past'), 'past', {values}"
        )
    };
    let mut rows = Vec::new();
    for (number, text) in TEXTS.iter().enumerate() {
        // The texts that the others have tried must not be the duplicates of these: X would refuse them.
        rows.push(row("text", &format!("'past {number} ' || {text}")));
    }
    for (column, values) in [("media", MEDIA), ("options", OPTIONS)] {
        for (number, value) in values.iter().enumerate() {
            for held in [0, 1, 2, 3] {
                if held == 0 || (column == "media" && number % 4 == held) {
                    rows.push(row(
                        &format!("text, {column}, held"),
                        &format!("'past {column} {number} {held}', ({value})::jsonb, {held}"),
                    ));
                }
            }
        }
    }
    for (column, values) in OTHERS.iter().chain(WRITTEN) {
        for (number, value) in values.iter().enumerate() {
            if *column == "campaign" {
                continue;
            }
            let value = value.replace("ME", "past");
            // A row of nobody: account and number of the account are written as they stand.
            let row = match *column {
                "account" => format!(
                    "insert into crier.jobs (account, account_id, text, campaign) values ({value}, 0, 'of nobody', 'past')"
                ),
                "account_id" => format!(
                    "insert into crier.jobs (account, account_id, text, campaign) values ('past', {value}, 'of nobody', 'past')"
                ),
                "state" | "post_id" => continue,
                _ => row(
                    &format!("text, {column}"),
                    &format!("'past {column} {number}', {value}"),
                ),
            };
            rows.push(row);
        }
    }
    rows
}
