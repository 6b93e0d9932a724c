//! The run: a world of processes, the plan carried out in it, and the calm afterwards.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crier_store::{Store, StoreOptions};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::hosts::{self, Blow, Ground, Host};
use crate::people;
use crate::plan::{ACCOUNTS, DUPLICATE_S, Deed, HOSTS, Side, Step, Tug};
use crate::postgres::Postgres;
use crate::proxy::Link;
use crate::tally::{Closed, Tally};
use crate::x::X;

/// Longest wait for everything to end once the faults are over.
const CALM: Duration = Duration::from_mins(4);
/// So far both clocks go in each second of the calm: less than what a lease holds beyond a call.
const STRIDE_S: u64 = 3;
const OPEN: &str = "select state, count(*) as n from crier.jobs_open group by state order by state";

pub(crate) struct World {
    postgres: Postgres,
    pub(crate) x: X,
    pub(crate) ground: Ground,
    hosts: Vec<Host>,
    deals: Vec<mpsc::UnboundedSender<Blow>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Whether unknown jobs are sent again without a look.
    is_blind: bool,
    /// How long the calm lasted.
    pub(crate) calm: Duration,
}

impl World {
    /// Everything up and idle; logs and media lie in `folder`. A blind one sends what is unknown again, and X's rule
    /// against duplicates does not save it.
    pub(crate) async fn new(root: &Path, folder: &Path, faketime: PathBuf, is_blind: bool) -> Self {
        let postgres = Postgres::new(root).await;
        let x = X::start(&json!({
            "duplicate_window_s": if is_blind { 0 } else { DUPLICATE_S },
            "processing_delay_ms": 800,
            "read_delay_ms": 1_500,
            "limits": {"POST /2/tweets": {"limit": 100_000, "window_s": 900, "user_24h": 1_000_000, "app_24h": 1_000_000}},
        }))
        .await;
        let (media, logs) = (folder.join("media"), folder.join("logs"));
        for made in [&media, &logs] {
            std::fs::create_dir_all(made).unwrap();
        }
        let url = Postgres::url(postgres.port());
        migrate(&url).await;
        let store = Store::connect(
            &StoreOptions {
                url: url.clone().into(),
                max_connections: 6,
                acquire_timeout: Duration::from_secs(3),
                application_name: "crier chaos".into(),
            },
            None,
        )
        .await
        .unwrap();
        let ground = Ground {
            store,
            media,
            logs,
            faketime,
            tally: Tally::default(),
        };
        for account in ACCOUNTS {
            assert!(people::log_in(x, &url, account).await, "{account}");
        }
        let (mut all, mut deals, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for (name, role, skew_s) in HOSTS {
            let host = Host {
                name,
                role,
                skew_s,
                database: Link::to(postgres.port(), Duration::from_millis(1)).await,
                x: Link::to(x.port, Duration::from_millis(30)).await,
            };
            let (deal, task) = hosts::live(&host, ground.clone());
            deal.send(Blow::Start).unwrap();
            all.push(host);
            deals.push(deal);
            tasks.push(task);
        }
        Self {
            postgres,
            x,
            ground,
            hosts: all,
            deals,
            tasks,
            is_blind,
            calm: Duration::ZERO,
        }
    }

    fn url(&self) -> String {
        Postgres::url(self.postgres.port())
    }

    /// Carries the plan out at its times.
    pub(crate) async fn suffer(&mut self, plan: &[Step]) {
        let (wishes, mut granted) = mpsc::unbounded_channel();
        let ground = self.ground.clone();
        let people = tokio::spawn(async move {
            while let Some(wish) = granted.recv().await {
                people::grant(&ground, wish).await;
            }
        });
        let (ground, x, url) = (self.ground.clone(), self.x, self.url());
        let is_blind = self.is_blind;
        let watch = tokio::spawn(async move {
            loop {
                people::log_in_where_asked(&ground, x, &url).await;
                if is_blind {
                    people::send_unknown_again(&ground).await;
                }
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
        });
        let begin = Instant::now();
        for step in plan {
            let at = Duration::from_millis(step.at_ms);
            tokio::time::sleep(at.saturating_sub(begin.elapsed())).await;
            if let Deed::Wish(wish) = &step.deed {
                wishes.send(wish.clone()).unwrap();
            } else {
                if !matches!(step.deed, Deed::Close(..)) {
                    let now_us = self.x.now_us().await;
                    self.ground.tally.note(|notes| notes.blows_us.push(now_us));
                }
                self.does(&step.deed).await;
            }
        }
        drop(wishes);
        people.await.unwrap();
        watch.abort();
    }

    async fn does(&mut self, deed: &Deed) {
        let tally = self.ground.tally.clone();
        match deed {
            Deed::Wish(_) => {}
            Deed::Blow(host, blow) => self.deals[*host].send(*blow).unwrap(),
            Deed::Tug(host, side, tug) => {
                let (link, to) = match side {
                    Side::Database => (&self.hosts[*host].database, "database"),
                    Side::X => (&self.hosts[*host].x, "X"),
                };
                match tug {
                    Tug::Cut => link.cut(),
                    Tug::Hold => link.hold(),
                    Tug::Slow(by_ms) => link.slow(Duration::from_millis(*by_ms)),
                    Tug::Open => link.open(),
                }
                match tug {
                    Tug::Cut => tally.count(&format!("link to {to} cut")),
                    Tug::Hold => tally.count(&format!("link to {to} held")),
                    Tug::Slow(_) => tally.count(&format!("link to {to} slowed")),
                    Tug::Open => {}
                }
            }
            Deed::Terminate => {
                let ended = self.ground.store.select_json(
                    "select count(*) filter (where pg_terminate_backend(pid)) as n from pg_stat_activity
                      where backend_type = 'client backend' and application_name = 'crier' and pid % 2 = 0",
                );
                // None may be there, or the database itself be gone.
                if let Ok(Ok(ended)) = tokio::time::timeout(Duration::from_secs(2), ended).await {
                    let n = ended[0]["n"].as_u64().unwrap_or(0);
                    tally.note(|notes| {
                        *notes
                            .counts
                            .entry("sessions terminated".to_owned())
                            .or_default() += n;
                    });
                }
            }
            Deed::PostgresDown => self.postgres.strike_down().await,
            Deed::PostgresUp => {
                if self.postgres.is_down() {
                    self.postgres.start().await;
                    let now_us = self.x.now_us().await;
                    tally.note(|notes| notes.revivals_us.push(now_us));
                    tally.count("Postgres struck down and started");
                }
            }
            Deed::Arm(fault) => {
                self.x.ask("POST", "/_sim/faults", fault).await;
            }
            Deed::Close(account, seconds) => self.close(account, *seconds).await,
        }
    }

    /// X refuses an account's posts for a while, and says until when.
    async fn close(&self, account: &str, seconds: u64) {
        let from_us = self.x.now_us().await;
        let until_s = from_us / 1_000_000 + i64::try_from(seconds).unwrap();
        let fault = json!({
            "route": "POST /2/tweets", "kind": "answer", "status": 429, "account": account, "for_s": seconds,
            "headers": {"x-rate-limit-limit": "100", "x-rate-limit-remaining": "0", "x-rate-limit-reset": until_s.to_string()},
            "body": {"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429},
        });
        self.x.ask("POST", "/_sim/faults", &fault).await;
        self.ground.tally.note(|notes| {
            notes.closed.push(Closed {
                account: account.to_owned(),
                from_us,
                until_us: until_s * 1_000_000,
            });
        });
    }

    /// Ends all faults and lets everything come to its end; the clocks run faster meanwhile.
    pub(crate) async fn calm_down(&mut self) {
        self.x.ask("DELETE", "/_sim/faults", &Value::Null).await;
        if self.postgres.is_down() {
            self.does(&Deed::PostgresUp).await;
        }
        for (host, deal) in self.hosts.iter().zip(&self.deals) {
            host.database.open();
            host.x.open();
            deal.send(Blow::Thaw).unwrap();
            deal.send(Blow::Start).unwrap();
        }
        let begin = Instant::now();
        let mut faster = false;
        while begin.elapsed() < CALM {
            tokio::time::sleep(Duration::from_secs(1)).await;
            people::log_in_where_asked(&self.ground, self.x, &self.url()).await;
            for name in ["spring", "summer", "autumn"] {
                let resume = format!("select crier.resume_campaign('{name}') as n");
                self.ground.store.select_json(&resume).await.unwrap();
            }
            if self.is_over().await {
                break;
            }
            // What was under way when the faults ended ends by itself first.
            faster |= begin.elapsed() > Duration::from_secs(10);
            if faster {
                let sql =
                    format!("update crier.clock set shift = shift + interval '{STRIDE_S} seconds'");
                self.ground.store.run_script(&sql).await.unwrap();
                let by = json!({"advance_s": STRIDE_S});
                self.x.ask("POST", "/_sim/clock", &by).await;
            }
        }
        self.calm = begin.elapsed();
        let left = self.ground.store.select_json(OPEN).await.unwrap();
        for deal in self.deals.drain(..) {
            drop(deal);
        }
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        if !left.is_empty() {
            eprintln!("open after the calm: {}", json!(left));
        }
    }

    /// Whether nothing is open but what waits for a person.
    async fn is_over(&self) -> bool {
        let open = self.ground.store.select_json(
            "select 1 as open from crier.jobs_open j left join crier.reconciles r on r.job_id = j.id
              where j.state <> 'unknown' or r.next_at is not null
                 or exists (select 1 from crier.leases l where l.kind = 'reconcile' and l.subject = j.id) limit 1",
        );
        open.await.unwrap().is_empty()
    }

    /// What Postgres wrote, to be kept with the evidence.
    pub(crate) fn postgres_log(&self) -> PathBuf {
        self.postgres.log()
    }
}

async fn migrate(url: &str) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_crier"))
        .arg("migrate")
        .env("DATABASE_URL", url)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}
