//! OAuth 1.0a: signed by hand here, verified there.

use serde_json::{Value, json};

use crate::client::{Request, User, X};
use crate::sign::{Keys, now_s};

struct Signer<'a> {
    user: &'a User,
    stamp: i64,
    nonce: &'a str,
    token_secret: &'a str,
    host: String,
}

impl Signer<'_> {
    fn sign(&self, request: Request) -> Request {
        let keys = Keys {
            token_secret: self.token_secret,
            ..Keys::user(self.user)
        };
        keys.sign(request, &self.host, self.stamp, self.nonce, &[])
    }
}

#[tokio::test]
async fn a_good_signature_passes_with_json_multipart_and_query() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let mut signer = Signer {
        user: &acme,
        stamp: now_s(&x).await,
        nonce: "n1",
        token_secret: acme.oauth1("access_token_secret"),
        host: x.addr.to_string(),
    };
    let post = Request::new("POST", "/2/tweets").json(&json!({"text": "signed & sent"}));
    x.send(signer.sign(post)).await.expect(201);
    signer.nonce = "n2";
    let path = format!(
        "/2/users/{}/tweets?max_results=5&start_time=2020-01-01T00%3A00%3A00%2B01%3A00",
        acme.id()
    );
    let read = x
        .send(signer.sign(Request::new("GET", &path)))
        .await
        .expect(200);
    assert_eq!(read["meta"]["result_count"], 1);
    signer.nonce = "n3";
    let picture = crate::media_files::png(600);
    let upload = Request::new("POST", "/2/media/upload").multipart(
        Some(&picture),
        &[("media_category", "tweet_image")],
        true,
    );
    x.send(signer.sign(upload)).await.expect(200);
}

#[tokio::test]
async fn wrong_old_repeated_and_half_signatures_are_told_apart() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let me = || Request::new("GET", "/2/users/me");
    let good = Signer {
        user: &acme,
        stamp: now_s(&x).await,
        nonce: "once",
        token_secret: acme.oauth1("access_token_secret"),
        host: x.addr.to_string(),
    };
    let code = |body: Value| body["errors"][0]["code"].as_u64().unwrap();
    x.send(good.sign(me())).await.expect(200);
    assert_eq!(
        code(x.send(good.sign(me())).await.expect(401)),
        32,
        "the nonce is used"
    );
    let wrong = Signer {
        nonce: "2",
        token_secret: "wrong",
        host: good.host.clone(),
        ..good
    };
    assert_eq!(code(x.send(wrong.sign(me())).await.expect(401)), 32);
    let elsewhere = Signer {
        nonce: "3",
        host: "api.x.com".to_owned(),
        ..good
    };
    assert_eq!(code(x.send(elsewhere.sign(me())).await.expect(401)), 32);
    let stale = Signer {
        nonce: "4",
        stamp: good.stamp - 1_000,
        host: good.host.clone(),
        ..good
    };
    assert_eq!(code(x.send(stale.sign(me())).await.expect(401)), 135);
    let half = me().header("authorization", "OAuth oauth_token=\"x\"");
    assert_eq!(code(x.send(half).await.expect(401)), 215);
    x.advance(100 * 86_400).await;
    let later = Signer {
        nonce: "5",
        stamp: now_s(&x).await,
        host: good.host.clone(),
        ..good
    };
    x.send(later.sign(me())).await.expect(200);
}

#[tokio::test]
async fn a_read_only_app_reads_only() {
    let x = X::start().await;
    let acme = x
        .user_with(&json!({"username": "acme", "oauth1_access": "read"}))
        .await;
    let mut signer = Signer {
        user: &acme,
        stamp: now_s(&x).await,
        nonce: "1",
        token_secret: acme.oauth1("access_token_secret"),
        host: x.addr.to_string(),
    };
    x.send(signer.sign(Request::new("GET", "/2/users/me")))
        .await
        .expect(200);
    signer.nonce = "2";
    let post = Request::new("POST", "/2/tweets").json(&json!({"text": "no"}));
    x.send(signer.sign(post))
        .await
        .says(403, "oauth1-permissions");
}

#[tokio::test]
async fn another_base_can_be_allowed() {
    let x = X::with(&json!({"oauth1_bases": ["http://api.x.com"]})).await;
    let acme = x.user("acme").await;
    let signer = Signer {
        user: &acme,
        stamp: now_s(&x).await,
        nonce: "1",
        token_secret: acme.oauth1("access_token_secret"),
        host: "api.x.com".to_owned(),
    };
    x.send(signer.sign(Request::new("GET", "/2/users/me")))
        .await
        .expect(200);
}
