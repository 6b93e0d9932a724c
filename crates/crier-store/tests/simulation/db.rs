//! One database for many lists: emptied between two, with a clock that stands still unless it is moved.

use std::time::Duration;

use crier_store::{Import, OAuth2Tokens, SealKey, Store, StoreOptions};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

use crate::x::app_of;

/// Accounts of every list; numbers as the database gives them, from 1.
pub(crate) const ACCOUNTS: [i64; 3] = [1, 2, 3];

/// What the store's one session is told: nobody holds anything for long, unless for ever; and its chance is the same each
/// time.
const SESSION: &str = "set lock_timeout = '40ms'; select setseed(0.5)";

pub(crate) struct Db {
    /// The code under test: one connection, which waits for no lock for long.
    pub(crate) store: Store,
    /// People, and the questions of the simulation.
    pub(crate) people: PgPool,
    /// A session that holds rows.
    pub(crate) holder: PgPool,
    /// A person whose transaction stays open.
    pub(crate) long: PgPool,
    admin: Store,
    name: String,
}

/// The refresh token that every account begins with.
pub(crate) const GRANT: &str = "refresh-token";

/// What the environment says, if it does.
#[expect(
    clippy::disallowed_methods,
    reason = "the test's server and the seeds are named by whoever runs the test"
)]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn options(url: String) -> StoreOptions {
    StoreOptions {
        url: url.into(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(30),
        application_name: "crier simulation".into(),
    }
}

pub(crate) fn login(account: i64, grant: &str) -> Import {
    Import {
        x_user_id: (100 + account).to_string(),
        handle: format!("a{account}"),
        oauth2: Some(OAuth2Tokens {
            client_id: format!("app{}", app_of(account)),
            client_secret: Some("app-secret".to_owned().into()),
            access_token: "access-token".to_owned().into(),
            refresh_token: Some(grant.to_owned().into()),
            expires_in_s: 7200,
            scopes: vec![
                "tweet.write".into(),
                "tweet.read".into(),
                "users.read".into(),
            ],
        }),
        oauth1: None,
    }
}

impl Db {
    pub(crate) async fn new() -> Self {
        let url = setting("CRIER_TEST_DATABASE_URL")
            .expect("CRIER_TEST_DATABASE_URL names the server for tests: run `make test`, or `scripts/with-postgres cargo test`");
        let admin = Store::connect(&options(url.clone()), None).await.unwrap();
        let name = format!("crier_simulation_{}", Uuid::new_v4().simple());
        admin
            .run_outside_transaction(&format!("create database {name}"))
            .await
            .unwrap();
        let (base, _) = url.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        let key = SealKey::from_base64(
            &"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
                .to_owned()
                .into(),
        )
        .unwrap();
        let store = Store::connect(&options(url.clone()), Some(key))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let connect: PgConnectOptions = url.parse().unwrap();
        let connect = connect.options([("lock_timeout", "40ms")]);
        let pool = || {
            PgPoolOptions::new()
                .max_connections(1)
                .connect_lazy_with(connect.clone())
        };
        let (people, holder, long) = (pool(), pool(), pool());
        let scripts = [
            include_str!("frozen.sql"),
            include_str!("faults.sql"),
            include_str!("history.sql"),
            include_str!("promises.sql"),
            include_str!("promises_kept.sql"),
        ];
        for script in scripts {
            sqlx::raw_sql(script).execute(&people).await.unwrap();
        }
        Self {
            store,
            people,
            holder,
            long,
            admin,
            name,
        }
    }

    /// As if it were new.
    pub(crate) async fn reset(&self) {
        sqlx::query("select sim.reset()")
            .execute(&self.people)
            .await
            .unwrap();
        self.begin_session().await;
        for account in ACCOUNTS {
            let made = self
                .store
                .import_account(&login(account, GRANT))
                .await
                .unwrap();
            assert_eq!(made.id, account);
        }
    }

    /// The only connection keeps it. The first try may find that the old one is gone.
    pub(crate) async fn begin_session(&self) {
        for _ in 0..2 {
            if self.store.run_script(SESSION).await.is_ok() {
                break;
            }
        }
    }

    pub(crate) async fn drop(self) {
        self.store.close().await;
        self.people.close().await;
        self.holder.close().await;
        self.long.close().await;
        self.admin
            .run_outside_transaction(&format!("drop database {} with (force)", self.name))
            .await
            .unwrap();
        self.admin.close().await;
    }
}
