"""The dashboards of crier: what each panel shows, and what its reader does when it is red.

Metrics of the database are the same in every process: `max`, never `sum`. Metrics of a process are added up. `docs/METRICS.md` says which is
which. `$__rate_interval` and `$job` are Grafana's; the check puts numbers in their place. Where an alert has a limit, its panel is red from there on.
"""

from dsl import GREEN, ORANGE, RED, Dashboard, Panel, Prom, Sql

J = '{job="$job"}'


def db(metric, labels=""):
    """A metric of the database: the same in each process that reads it."""
    return f'max by ({labels}) ({metric}{J})' if labels else f"max({metric}{J})"


def per_minute(metric, labels):
    """A counter of the processes, a minute."""
    return f"60 * sum by ({labels}) (rate({metric}{J}[$__rate_interval]))"


def quantile(q, metric, labels="", span="$__rate_interval"):
    by = f"le, {labels}" if labels else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{J}[{span}])))"


def ended(states, span):
    """Jobs that ended so within a span; a counter of the database."""
    return f'sum(max by (state) (increase(crier_jobs_ended_total{{job="$job", state=~"{states}"}}[{span}])))'


LISTED = "each row is one that somebody may have to look at"

OVERVIEW = Dashboard(
    "crier-overview", "crier: Overview", "Are the posts going out, on time, and what does it cost?",
    [
        ("Are we on time?", [
            Panel("stat", "Due and not out", "Posts whose time has come and that are not on X yet. A few for a moment is normal; many, or some for minutes, is not.",
                  Prom(db("crier_due_unpublished")), unit="short", bad=(10, 100), runbook="posts-are-late", width=4, height=5),
            Panel("stat", "Oldest of them", "How long the post that waits longest has been due. Posts that a limit or a pause of X holds back count, too.",
                  Prom(db("crier_oldest_due_age_seconds")), unit="s", bad=(60, 300), alert="CrierPostsLate", runbook="posts-are-late", width=4, height=5),
            Panel("stat", "Lateness, 99 of 100", "99 of 100 posts of the last hour were on X so long after they were due, or sooner.",
                  Prom(quantile(0.99, "crier_lateness_seconds", span="1h")), unit="s", bad=(30, 300), runbook="posts-are-late", width=4, height=5),
            Panel("stat", "Published, 24 h", "Posts that went out within a day.", Prom(ended("published", "24h")), unit="none", decimals=0,
                  limitless="how many are right depends on how many were due; Due and not out has the limit", runbook="posts-are-late", width=4, height=5),
            Panel("stat", "Failed or missed, 24 h", "Posts that did not go out and will not. What did not go out, and why, is listed below.",
                  Prom(ended("failed|missed", "24h")), unit="none", bad=(1, 10), alert="CrierPostsFail", decimals=0, runbook="posts-fail", width=4, height=5),
            Panel("stat", "Perhaps on X", "Posts of which no answer came. crier looks for them, and never sends them again before it knows.",
                  Prom(db("crier_unknown_open")), unit="none", bad=(1, 5), alert="CrierUnknownOpen", runbook="unknown-posts", width=4, height=5),
            Panel("heatmap", "Lateness of each post", "From the time a post was due to X accepting it. What is not in the lowest rows was late.",
                  Prom(f"sum by (le) (increase(crier_lateness_seconds_bucket{J}[$__rate_interval]))", "{{le}}", heatmap=True), unit="s",
                  limitless="its colour counts posts; Lateness has the limit", runbook="posts-are-late", width=12, height=8),
            Panel("timeseries", "Lateness", "Half, and 99 of 100, of the posts were on X so long after they were due, or sooner.",
                  [Prom(quantile(0.5, "crier_lateness_seconds"), "half"), Prom(quantile(0.99, "crier_lateness_seconds"), "99 of 100")],
                  unit="s", bad=(30, 300), runbook="posts-are-late", width=12, height=8),
            Panel("timeseries", "Due and not out", "The backlog, and how long its oldest post waits (axis at the right).",
                  [Prom(db("crier_due_unpublished"), "posts"), Prom(db("crier_oldest_due_age_seconds"), "seconds of the oldest")],
                  unit="short", units={"seconds of the oldest": "s"}, bad=(10, 100), runbook="posts-are-late"),
            Panel("timeseries", "Ended, a minute", "How jobs ended. Cancelled ones were stopped by people.",
                  Prom(f"60 * max by (state) (rate(crier_jobs_ended_total{J}[$__rate_interval]))", "{{state}}"), unit="cpm", stack=True,
                  limitless="one that failed counts, however few they are a minute; Failed or missed, 24 h has the limit", runbook="posts-fail"),
            Panel("timeseries", "Why attempts did not publish, a minute", "Attempts by outcome and stable code. `docs/X.md` has each code with what X meant by it.",
                  Prom('60 * sum by (outcome, code) (rate(crier_attempts_total{job="$job", outcome!="published"}[$__rate_interval]))', "{{outcome}}: {{code}}"), unit="cpm", stack=True,
                  limitless="most attempts are made again and go well; Failed or missed, 24 h has the limit", runbook="posts-fail"),
        ]),
        ("What needs somebody", [
            # What ended is read from the partitions of its time (0.4 s for a million ended posts of the month) and bounded by its newest rows; what is
            # unknown, from the list of what is looked for.
            Panel("table", "What did not go out, and why", "What failed or was missed within 24 hours, and what is perhaps on X now, of every campaign and of none. Begin with the topmost line: do what its hint says "
                  "(`docs/X.md` has each code), look at the newest with `crier jobs why ID`, then `crier jobs retry ID`; one that is `unknown` is settled, never retried. Of what ended, the newest 10,000 are counted.",
                  Sql("""with bad as (
                         (select state, id, error, finished_at as since from crier.jobs where state in ('failed', 'missed')
                          and finished_at > (select crier.now() - interval '24 hours') order by finished_at desc limit 10000)
                         union all
                         (select j.state, j.id, j.error, r.since from crier.reconciles r join crier.jobs j on j.id = r.job_id where j.state = 'unknown' limit 1000))
                         select state, coalesce(error ->> 'code', 'none') as code, count(*) as jobs, (array_agg(id order by since desc, id desc))[1] as "newest job", max(since) as since,
                         (array_agg(error ->> 'title' order by since desc, id desc))[1] as title, (array_agg(error ->> 'hint' order by since desc, id desc))[1] as "what to do"
                         from bad group by 1, 2 order by jobs desc, since desc limit 100""", among=["failed|", "missed|", "unknown|"]),
                  unit="none", limitless=LISTED + "; Failed or missed, 24 h has the limit", runbook="posts-fail", width=24, height=8),
        ]),
        ("What is coming", [
            Panel("barchart", "Next 24 hours, by account", "Posts that are to go out in each hour. X allows an account 100 posts in 15 minutes, 400 an hour; what is beyond waits.",
                  Sql("""select to_char(hour, 'DD Mon HH24:00') as "hour", account, posts from (
                         select date_trunc('hour', run_at) as hour, account, count(*) as posts from crier.jobs where state = 'scheduled'
                         and run_at >= crier.now() and run_at < crier.now() + interval '24 hours' group by 1, 2 order by 1, 2 limit 500) load order by hour, account"""),
                  unit="none", bad=(300, 400), runbook="limit-used-up", width=12, height=8),
            Panel("timeseries", "Open jobs", "Jobs that have not ended. Paused ones go on when their campaign is resumed.",
                  Prom(db("crier_jobs_open", "state"), "{{state}}"), unit="short", limitless="millions may wait; Due and not out has the limit", runbook="posts-are-late", width=6, height=8),
            Panel("timeseries", "Inserted and looked at, a minute", "New rows, and what was found when crier looked at them ahead of their time. A warning is a post that will not go out unless somebody acts.",
                  [Prom(f"60 * max(rate(crier_jobs_inserted_total{J}[$__rate_interval]))", "inserted"), Prom(per_minute("crier_checks_total", "result"), "looked at: {{result}}")],
                  unit="cpm", limitless="any number may be inserted; Failed or missed, 24 h has the limit", runbook="posts-fail", width=6, height=8),
        ]),
        ("What it costs", [
            Panel("timeseries", "Dollars an hour", "What calls to X cost, by the prices of the configuration.",
                  Prom(f"3600 * max by (kind) (rate(crier_cost_usd_total{J}[$__rate_interval]))", "{{kind}}"), unit="currencyUSD", stack=True,
                  limitless="how much is too much is yours to say, by `crier accounts budget`", runbook="credits-or-budget", width=12),
            Panel("table", "This month, by app", "What each developer app has cost since the month began (UTC), and its budget. A spent budget stops the app until the month turns.",
                  Sql("""select a.client_id as app, round(coalesce(c.micro_usd, 0) / 1e6, 2) as "spent USD", a.monthly_budget_usd as "budget USD", a.status
                         from crier.apps a left join crier.app_costs c on c.app_id = a.id and c.month = date_trunc('month', crier.now() at time zone 'UTC')::date order by 2 desc"""),
                  unit="currencyUSD", limitless="each app has a budget of its own; Apps is red when one is spent", runbook="credits-or-budget", width=12),
        ]),
    ])

X = Dashboard(
    "crier-x", "crier: X", "What crier asks of X, what X answers, and how much it still allows.",
    [
        ("Calls", [
            Panel("timeseries", "Calls a minute, by endpoint", "Calls to X that ended, whatever the answer.", Prom(per_minute("crier_x_requests_total", "endpoint"), "{{endpoint}}"),
                  unit="reqpm", limitless="X's limits are each endpoint's own; Calls left shows them", runbook="limit-used-up"),
            Panel("timeseries", "Answers a minute, by status", "HTTP status of X's answers; `none`: no answer came, so a create call's post is looked for.",
                  Prom(per_minute("crier_x_requests_total", "status"), "{{status}}"), unit="reqpm", stack=True,
                  limitless="what counts is the share of the bad ones; Calls that fail on X's side has the limit", runbook="x-refuses"),
            Panel("timeseries", "Calls that fail on X's side", "Share of the calls of the last 10 minutes that ended with 5xx, or with no answer.",
                  Prom('(sum(rate(crier_x_requests_total{job="$job", status=~"5..|none"}[10m])) or vector(0)) / sum(rate(crier_x_requests_total{job="$job"}[10m]))', "share"),
                  unit="percentunit", bad=(0.1, 0.5), alert="CrierXRefuses", runbook="x-refuses"),
            Panel("timeseries", "Refusals a minute, by code", "What X's answers mean, by crier's stable codes. `docs/X.md` has each with its effect.",
                  Prom('60 * sum by (code) (rate(crier_x_requests_total{job="$job", code!="none"}[$__rate_interval]))', "{{code}}"), unit="reqpm", stack=True,
                  limitless="some codes are daily bread and some are not; what they led to is in What did not go out, and why", runbook="x-refuses"),
            Panel("timeseries", "Duration of a create call", "From sending it to X's whole answer.",
                  [Prom('histogram_quantile(0.5, sum by (le) (rate(crier_x_request_duration_seconds_bucket{job="$job", endpoint="POST /2/tweets"}[$__rate_interval])))', "half"),
                   Prom('histogram_quantile(0.99, sum by (le) (rate(crier_x_request_duration_seconds_bucket{job="$job", endpoint="POST /2/tweets"}[$__rate_interval])))', "99 of 100")],
                  unit="s", bad=(5, 20), runbook="x-refuses"),
            Panel("timeseries", "Duration of calls, 99 of 100", "By endpoint. Segments of films may take long; the rest should not.",
                  Prom(quantile(0.99, "crier_x_request_duration_seconds", "endpoint"), "{{endpoint}}"), unit="s",
                  limitless="a segment takes as long as the line is slow; Duration of a create call has the limit", runbook="x-refuses"),
        ]),
        ("Limits", [
            Panel("timeseries", "Calls left", "Calls that X still allows in the window; of several accounts the one with the fewest. At 0 its posts wait for the reset.",
                  Prom(db("crier_limit_remaining", "endpoint, class, window"), "{{endpoint}} · {{class}} · {{window}}"),
                  unit="none", bad=(10, 1), below=True, alert="CrierLimitUsedUp", runbook="limit-used-up", width=12),
            Panel("timeseries", "Until the window starts anew", "How long posts wait that meet a used-up window.",
                  Prom(db("crier_limit_reset_seconds", "endpoint, class, window"), "{{endpoint}} · {{class}} · {{window}}"), unit="s",
                  limitless="a day's window is long and does no harm while calls are left; Calls left has the limit", runbook="limit-used-up", width=12),
        ]),
        ("Grants", [
            Panel("stat", "First token ends in", "Time until the first access token of an active account expires. crier refreshes it 5 minutes before; below 0 it could not.",
                  Prom(db("crier_token_expiry_seconds")), unit="s", bad=(240, 0), below=True, alert="CrierTokenNotRefreshed", runbook="grants", width=6),
            Panel("timeseries", "Refreshes a minute", "`dead`: X has ended the grant, and only a person can bring another (`crier auth login`).",
                  Prom(per_minute("crier_token_refreshes_total", "result"), "{{result}}"), unit="cpm", stack=True,
                  limitless="a refresh that fails is tried again; First token ends in, and Accounts, have the limits", runbook="grants", width=6),
            Panel("stat", "Accounts", "By whether crier may publish for them. Posts of the others wait. Those that are `paused` were paused by a person.", Prom(db("crier_accounts", "status"), "{{status}}"),
                  unit="none", steps=[(None, GREEN), (1, RED)], calm=["active", "paused"], alert=["CrierGrantDead", "CrierAccountSuspended"], runbook="grants", width=6),
            Panel("stat", "Apps", "Developer apps. A paused one has no credits, no enrolment, or a limit of its own; a spent budget waits for the month.", Prom(db("crier_apps", "status"), "{{status}}"),
                  unit="none", steps=[(None, GREEN), (1, RED)], calm=["active"], alert=["CrierAppStopped", "CrierBudgetSpent"], runbook="credits-or-budget", width=6),
            Panel("table", "Accounts that cannot publish", "Why, in X's words where X said it.",
                  Sql("""select handle, status, reason ->> 'code' as code, reason ->> 'title' as title, reason ->> 'hint' as "what to do", updated_at as since
                         from crier.accounts where status <> 'active' order by updated_at desc limit 200"""),
                  unit="none", limitless=LISTED, runbook="grants", width=24),
        ]),
        ("Uploads", [
            Panel("timeseries", "Bytes a second", "Bytes of media that X acknowledged.", Prom(f"sum(rate(crier_upload_bytes_total{J}[$__rate_interval]))", "bytes"), unit="Bps",
                  limitless="as fast as the way to X is", runbook="media"),
            Panel("timeseries", "Segments a minute", "Segments acknowledged, and those that had to be sent again. Many of the latter: the way to X is poor.",
                  [Prom(f"60 * sum(rate(crier_upload_segments_total{J}[$__rate_interval]))", "acknowledged"), Prom(f"60 * sum(rate(crier_upload_segments_resent_total{J}[$__rate_interval]))", "sent again")],
                  unit="cpm", limitless="one that is sent again costs time and nothing else", runbook="media"),
            Panel("timeseries", "Files a minute", "How the staging of files ended.", Prom(per_minute("crier_uploads_total", "result"), "{{result}}"), unit="cpm", stack=True,
                  limitless="a file that failed is a post that fails; Failed or missed, 24 h, of Overview, has the limit", runbook="media"),
        ]),
    ])

_CHANCE = "the worker that is killed may have nothing in hand"

WORKERS = Dashboard(
    "crier-workers", "crier: Workers and database", "Does everything run that has to, and does the database bear it?",
    [
        ("Processes", [
            Panel("stat", "Leading schedulers", "Exactly one leads. None for longer than seconds: nothing becomes due.", Prom(f"sum(crier_scheduler_leader{J})"),
                  unit="none", steps=[(None, RED), (1, GREEN), (2, ORANGE)], alert=["CrierNoLeader", "CrierTwoLeaders"], runbook="no-leader", width=4, height=5),
            Panel("timeseries", "Who leads", "1 for the process that leads.", Prom(f"crier_scheduler_leader{J}", "{{instance}}"), unit="none",
                  limitless="which one leads does not matter; Leading schedulers has the limit", runbook="no-leader", width=8, height=5),
            # A lead that passes on counts twice: one process loses it, another wins it.
            Panel("timeseries", "Changes of the lead", "Often, and the leader is stopped, starved, or cut off from the database.", Prom(f"sum(increase(crier_scheduler_leader_changes_total{J}[$__rate_interval]))", "changes", unstaged="the one lead of the load is taken before Prometheus looks"),
                  unit="none", bad=(3, 6), runbook="no-leader", width=6, height=5),
            Panel("table", "Versions", "What runs where.", Prom(f"max by (instance, version) (crier_build_info{J})", instant=True), unit="none",
                  limitless="two versions beside each other are an upgrade", runbook="process-down", width=6, height=5),
            Panel("timeseries", "Settings read anew", "Reloads by SIGHUP, by what came of them, and settings that wait for a restart. Refused: the log says why, and all stayed as it was.",
                  [Prom(f"sum by (result) (increase(crier_config_reloads_total{J}[$__rate_interval]))", "{{result}}"), Prom(f"sum(crier_config_awaiting_restart{J})", "wait for a restart", unstaged="the load changes no setting")],
                  unit="none", limitless="a file that is refused changes nothing", runbook="settings", width=24, height=5),
            Panel("table", "Seen lately", "Processes by their own beat in the database.",
                  Sql("select role, host, version, started_at, crier.now() - seen_at as \"silent for\" from crier.workers order by seen_at desc limit 50"),
                  unit="none", limitless="one that was ended on purpose is silent, too; CrierDown tells of the others", runbook="process-down", width=24, height=6),
        ]),
        ("Work in hand", [
            Panel("timeseries", "In hand, and the most that fits", "Posts and uploads in hand. At the top for long: more workers, or a higher `worker.concurrency`.",
                  [Prom(f"sum(crier_worker_inflight{J})", "in hand"), Prom(f"sum(crier_worker_concurrency{J})", "fits")], unit="none",
                  limitless="the second curve is the limit, and to be at it is no harm while nothing is late", runbook="posts-are-late"),
            Panel("timeseries", "Leases held", "What workers hold, by what they do.", Prom(db("crier_leases_held", "phase"), "{{phase}}"), unit="none", stack=True,
                  limitless="as many as there is work in hand", runbook="leases-expire"),
            Panel("timeseries", "Leases expired or lost, within 15 minutes", "Expired: a worker went silent, and its work was taken back. Lost: a result came too late and was thrown away.",
                  [Prom(f"sum(increase(crier_leases_expired_total{J}[15m]))", "expired", unstaged=_CHANCE), Prom(f"sum by (phase) (increase(crier_leases_expired_total{J}[15m]))", "expired: {{phase}}", unstaged=_CHANCE),
                   Prom(f"sum(increase(crier_leases_lost_total{J}[15m]))", "lost", unstaged="no result of the load comes after its lease")], unit="none", bad=(1, 3), alert="CrierLeasesExpire", runbook="leases-expire"),
            Panel("timeseries", "Inbox of the scheduler", "Inserted rows that no lane knows yet. It stays near 0 while a scheduler leads.", Prom(db("crier_signals_backlog"), "rows"),
                  unit="short", bad=(1000, 50000), runbook="no-leader"),
            # A leader that is silent for 5 s is replaced.
            Panel("timeseries", "Duration of the scheduler's steps, 99 of 100", "Milliseconds, unless the database is slow.", Prom(quantile(0.99, "crier_scheduler_step_duration_seconds", "step"), "{{step}}"),
                  unit="s", bad=(1, 5), runbook="database"),
            Panel("timeseries", "Slots of recurring posts", "What became of the slots that came up. Skipped: the row says that what was missed is left out.", Prom(f"sum by (result) (increase(crier_recurring_slots_total{J}[$__rate_interval]))", "{{result}}"),
                  unit="none", stack=True, limitless="to skip what was missed is each row's own choice", runbook="recurring-posts"),
            Panel("timeseries", "Unknown posts, and how they were settled", "Found on X, absent, by X's refusal as a duplicate, or by a person.",
                  [Prom(db("crier_unknown_open"), "open"), Prom(f"sum by (how) (increase(crier_unknown_settled_total{J}[$__rate_interval]))", "settled: {{how}}")], unit="none",
                  limitless="one that is settled is no harm; Perhaps on X, of Overview, has the limit", runbook="unknown-posts"),
            Panel("timeseries", "Webhooks", "Tries by how they ended.", Prom(f"sum by (result) (increase(crier_webhook_tries_total{J}[$__rate_interval]))", "{{result}}"), unit="none", stack=True,
                  limitless="a try that failed is made again; Webhooks not delivered has the limit", runbook="webhooks"),
            Panel("stat", "Webhooks not delivered", "Deliveries that wait, and those that were given up. `crier webhooks deliveries --state dead` lists the latter. Posts do not wait for them.",
                  [Prom(db("crier_webhooks_waiting"), "waiting"), Prom(db("crier_webhooks_dead"), "given up", unstaged="a delivery is given up after days")], unit="short", bad=(1, 100), calm=["waiting"], runbook="webhooks"),
            Panel("table", "Lanes that are closed", "Accounts whose posts wait, until when, and what waits. `infinity`: until a person acts.",
                  Sql("""select a.handle, l.not_before as "closed until", a.status, l.in_flight as "in flight" from crier.lanes l join crier.accounts a on a.id = l.account_id
                         where l.not_before > crier.now() order by l.not_before desc limit 200"""), unit="none", limitless=LISTED, runbook="limit-used-up", width=24),
        ]),
        ("Database", [
            Panel("timeseries", "Connections", "Of the pools of all processes. All used for long: raise `database.max_connections`, or look for slow statements.",
                  Prom(f"sum by (state) (crier_db_pool_connections{J})", "{{state}}"), unit="none", stack=True,
                  limitless="the most is a setting of each process; Failed calls a minute has the limit", runbook="database"),
            Panel("timeseries", "Failed calls a minute", "By operation. crier goes on by itself when the database is back.", Prom(per_minute("crier_db_errors_total", "operation"), "{{operation}}"),
                  unit="opm", bad=(1, 6), alert="CrierDatabaseErrors", times=60, stack=True, runbook="database"),
            Panel("timeseries", "Oldest transaction", "A transaction that stays open keeps Postgres from cleaning up: lanes get slow after hours of it.", Prom(db("crier_db_oldest_transaction_age_seconds"), "age"),
                  unit="s", bad=(600, 3600), alert="CrierSnapshotHeld", runbook="snapshot-held"),
            # Of `jobs_open`, the largest, autovacuum cleans up from 20,000 on, within a minute or so.
            Panel("timeseries", "Dead rows", "Rows that autovacuum has not cleaned up yet, by table. Many for long: something keeps it from it.", Prom(db("crier_db_dead_rows", "table"), "{{table}}"),
                  unit="short", bad=(100000, 1000000), runbook="snapshot-held"),
            Panel("timeseries", "Clock of the database less that of the host", "crier decides by the database's clock; OAuth 1.0a and logs use the host's.", Prom(f"crier_db_clock_skew_seconds{J}", "{{instance}}"),
                  unit="s", steps=[(None, RED), (-5, ORANGE), (-1, GREEN), (1, ORANGE), (5, RED)], alert="CrierClockSkew", runbook="clock"),
            Panel("timeseries", "Age of these numbers", "What the exporters last read of the database, and scrapes for which they could not (axis at the right).",
                  [Prom(f"min(crier_db_reading_age_seconds{J})", "age"), Prom(f"sum(increase(crier_scrape_errors_total{J}[$__rate_interval]))", "failed readings")],
                  unit="s", units={"failed readings": "none"}, bad=(30, 120), alert="CrierReadingsStale", runbook="database"),
            Panel("timeseries", "Room on disk", "Free bytes of the media folder and of the spool, where files of the web wait. Orange: a film of 16 GB, the largest that X takes, would not fit.",
                  Prom(f"min by (folder) (crier_disk_free_bytes{J})", "{{folder}}"), unit="bytes", bad=(16e9, 2e9), below=True, alert="CrierDiskLow", runbook="disk"),
        ]),
    ])

_CAMPAIGNS = """with recursive c as ((select campaign from crier.jobs where campaign is not null order by campaign limit 1)
 union all select (select j.campaign from crier.jobs j where j.campaign > c.campaign order by j.campaign limit 1) from c where c.campaign is not null)
 select campaign from c where campaign is not null limit 1000"""
_WHICH = "campaign = ${campaign:sqlstring}"

CAMPAIGN = Dashboard(
    "crier-campaign", "crier: Campaign", "One campaign: what went out, what did not and why, what comes.",
    [
        ("$campaign", [
            Panel("stat", "Posts", "Jobs of the campaign, by state.",
                  Sql(f"""select count(*) filter (where state = 'published') as published, count(*) filter (where state in ('scheduled', 'paused')) as waiting,
                          count(*) filter (where state = 'unknown') as "perhaps on X", count(*) filter (where state in ('failed', 'missed')) as "failed or missed",
                          count(*) filter (where state = 'cancelled') as cancelled from crier.jobs where {_WHICH}"""),
                  unit="none", bad=(1, 10), calm=["published", "waiting", "cancelled"], runbook="posts-fail", width=16, height=5),
            Panel("stat", "Paused?", "A paused campaign sends nothing until `select crier.resume_campaign(…)`.",
                  Sql("select case when coalesce((select paused from crier.campaigns where name = ${campaign:sqlstring}), false) then 'paused' else 'runs' end as state"),
                  unit="string", limitless="a person paused it", runbook="posts-are-late", width=8, height=5),
            Panel("timeseries", "Went out, by hour", "Published posts.",
                  Sql(f"""select date_trunc('hour', published_at) as time, account as metric, count(*)::float8 as value from crier.jobs where {_WHICH} and state = 'published'
                          and $__timeFilter(published_at) group by 1, 2 order by 1""", "time_series"),
                  unit="none", stack=True, limitless="as many as were due", runbook="posts-are-late", width=12),
            Panel("timeseries", "Is to go out, by hour", "Posts that wait; choose a time to come, such as now to now+7d.",
                  Sql(f"""select date_trunc('hour', run_at) as time, account as metric, count(*)::float8 as value from crier.jobs where {_WHICH} and state in ('scheduled', 'paused')
                          and $__timeFilter(run_at) group by 1, 2 order by 1""", "time_series"),
                  unit="none", stack=True, limitless="X's limit is each account's, and these are heaped up; Next 24 hours, by account, of Overview has it", runbook="limit-used-up", width=12),
        ]),
        ("What needs somebody", [
            Panel("table", "Did not go out, or perhaps", "Why, in X's words, and what to do. `crier jobs why ID` tells a job's whole story.",
                  Sql(f"""select id, account, state, run_at, error ->> 'code' as code, error ->> 'title' as title, error ->> 'detail' as detail, error ->> 'hint' as "what to do", left(text, 60) as text
                          from crier.jobs where {_WHICH} and state in ('failed', 'missed', 'unknown') order by run_at desc limit 200"""),
                  unit="none", limitless=LISTED, runbook="posts-fail", width=24, height=8),
            Panel("table", "Will not go out unless somebody acts", "Waiting posts with a warning.",
                  Sql(f"""select id, account, run_at, warning ->> 'code' as code, warning ->> 'title' as title, warning ->> 'hint' as "what to do", left(text, 60) as text
                          from crier.jobs where {_WHICH} and state in ('scheduled', 'paused') and warning is not null order by run_at limit 200"""),
                  unit="none", limitless=LISTED, runbook="posts-fail", width=24, height=6),
        ]),
        ("Posts", [
            Panel("table", "Next", "What goes out next.",
                  Sql(f"""select id, account, run_at, priority, attempts, next_attempt_at as "again at", jsonb_array_length(media) as media, after, left(text, 80) as text from crier.jobs
                          where {_WHICH} and state in ('scheduled', 'paused') order by run_at, id limit 100"""),
                  unit="none", limitless="any number may wait", runbook="posts-are-late", width=24),
            Panel("table", "Latest", "What went out last, and how late.",
                  Sql(f"""select id, account, run_at, published_at - run_at as late, post_url, left(text, 80) as text from crier.jobs
                          where {_WHICH} and state = 'published' order by published_at desc limit 100"""),
                  unit="none", limitless="Lateness, of Overview, has the limit", runbook="posts-are-late", links={"post_url": "${__value.raw}"}, width=24),
        ]),
    ],
    variables=[{"name": "campaign", "label": "Campaign", "type": "query", "datasource": {"type": "grafana-postgresql-datasource", "uid": "${postgres}"}, "hide": 0,
                "includeAll": False, "multi": False, "options": [], "refresh": 2, "regex": "", "skipUrlSync": False, "sort": 1, "current": {},
                "definition": " ".join(_CAMPAIGNS.split()), "query": " ".join(_CAMPAIGNS.split())}],
    since="now-7d", until="now+7d")

DASHBOARDS = [OVERVIEW, X, WORKERS, CAMPAIGN]

# Metrics that no panel and no alert uses, each with the reason.
UNUSED = {}

# Alerts whose limit no panel shows, each with the reason.
UNSHOWN = {
    "CrierNothingPublished": "compares two panels, Ended and Due and not out, over ten minutes",
    "CrierDown": "a process that is down shows no number of its own; Prometheus has `up`",
    "CrierNoWorker": "a worker that is gone shows no number of its own; `In hand, and the most that fits` shows those that are there",
    "CrierRoleGone": "compares what Prometheus sees with what it saw within a day",
    "CrierAbsent": "where no process is seen there is nothing to draw",
}
