//! Every route with every kind of answer it can give: each one goes through `X::send` and so is held
//! against X's description; a route of the description that is not driven here fails the test.

use serde_json::{Value, json};

use crate::client::{Request, User, X};
use crate::conform::{route, routes};
use crate::media_files::{append, chunked, film, id_of, mp4, open, picture, png};
use crate::sign::Keys;

/// Largest body of these tests, in bytes.
const EDGE: usize = 60_000;

/// What the good requests speak of.
struct Ground {
    user: String,
    post: String,
    session: String,
    picture: String,
    film: String,
    track: String,
}

impl Ground {
    async fn lay(x: &X, user: &User) -> Self {
        let session = open(x, user, "tweet_image", "image/png", 600).await;
        x.send(append(user, &session, 0, &png(600)))
            .await
            .expect(200);
        let srt = b"1\n00:00:00,000 --> 00:00:01,000\nHi\n";
        let track = id_of(&chunked(x, user, "subtitles", "text/srt", srt).await);
        let film = film(x, user, "tweet_video", 5).await;
        let subtitles = json!({
            "id": film, "media_category": "TweetVideo",
            "subtitles": {"id": track, "language_code": "EN"},
        });
        x.send(user.call("POST", "/2/media/subtitles").json(&subtitles))
            .await
            .expect(200);
        let post = x.send(user.post("the ground")).await.expect(201);
        Self {
            user: user.id().to_owned(),
            post: id_of(&post),
            session,
            picture: picture(x, user).await,
            film,
            track,
        }
    }

    /// A request that must succeed, not yet in anybody's name.
    fn good(&self, spec: &str) -> Request {
        let (method, template) = spec.split_once(' ').unwrap();
        let id = match spec {
            "GET /2/users/{id}/tweets" => &self.user,
            "GET /2/tweets/{id}" | "DELETE /2/tweets/{id}" => &self.post,
            _ => &self.session,
        };
        let path = template.replace("{id}", id);
        let at = |query: &str| Request::new(method, &format!("{path}{query}"));
        match spec {
            "GET /2/tweets" => at(&format!("?ids={}", self.post)),
            "GET /2/media/upload" => at(&format!("?media_id={}&command=STATUS", self.film)),
            "GET /2/tweets/{id}"
            | "GET /2/users/me"
            | "GET /2/users/{id}/tweets"
            | "DELETE /2/tweets/{id}" => at(""),
            "POST /2/tweets" => at("").json(&json!({
                "text": "with a picture", "media": {"media_ids": [self.picture]},
            })),
            "POST /2/media/upload" => {
                at("").multipart(Some(&png(600)), &[("media_category", "tweet_image")], true)
            }
            "POST /2/media/upload/initialize" => at("").json(&json!({
                "media_category": "tweet_image", "media_type": "image/png", "total_bytes": 600,
            })),
            "POST /2/media/upload/{id}/append" => {
                at("").multipart(Some(&png(600)), &[("segment_index", "0")], true)
            }
            "POST /2/media/upload/{id}/finalize" => at("").json(&json!({})),
            "POST /2/media/metadata" => at("").json(&json!({
                "id": self.picture, "metadata": {"alt_text": {"text": "a picture"}},
            })),
            "POST /2/media/subtitles" => at("").json(&json!({
                "id": self.film, "media_category": "TweetVideo",
                "subtitles": {"id": self.track, "language_code": "DE"},
            })),
            "DELETE /2/media/subtitles" => at("").json(&json!({
                "id": self.film, "media_category": "TweetVideo", "language_code": "EN",
            })),
            other => panic!("{other} is in the spec and not driven here"),
        }
    }

    /// The same about something that is not there, where there is such a thing.
    fn about_nothing(&self, spec: &str) -> Option<Request> {
        let nowhere = Self {
            user: "1".to_owned(),
            post: "1".to_owned(),
            session: "1".to_owned(),
            picture: "1".to_owned(),
            film: "1".to_owned(),
            track: self.track.clone(),
        };
        let none = [
            "GET /2/users/me",
            "POST /2/media/upload",
            "POST /2/media/upload/initialize",
        ];
        (!none.contains(&spec)).then(|| nowhere.good(spec))
    }
}

/// A request that its route must find fault with.
fn faulty(spec: &str) -> Request {
    let (method, template) = spec.split_once(' ').unwrap();
    let path = template.replace("{id}", "no-number");
    if method == "GET" {
        Request::new(method, &format!("{path}?nope=1"))
    } else {
        Request::new(method, &path).json(&json!({"nope": 1}))
    }
}

fn reads(spec: &str) -> bool {
    spec.starts_with("GET") && spec != "GET /2/media/upload"
}

#[tokio::test]
async fn every_route_gives_every_kind_of_answer_as_the_spec_has_it() {
    for spec in routes() {
        let options = json!({"edge_limit_bytes": EDGE, "one_shot_limit_bytes": EDGE});
        let x = X::with(&options).await;
        let acme = x.user("acme").await;
        let app = acme.oauth2("client_id");
        let ground = Ground::lay(&x, &acme).await;
        let call = || ground.good(spec).bearer(acme.oauth2("access_token"));

        x.send(ground.good(spec)).await.expect(401);
        let wrong = Keys {
            token_secret: "wrong",
            ..Keys::user(&acme)
        };
        wrong.send(&x, ground.good(spec), &[]).await.expect(401);

        for (who, name, states) in [
            ("account", "acme", &["suspended", "locked"][..]),
            ("client_id", app, &["suspended", "not_enrolled"]),
        ] {
            for state in states {
                let body = json!({who: name, "state": state});
                x.control("POST", "/_sim/standing", &body).await;
                x.send(call()).await.expect(403);
            }
            let body = json!({who: name, "state": "active"});
            x.control("POST", "/_sim/standing", &body).await;
        }
        let restricted = json!({"account": "acme", "state": "read_only"});
        x.control("POST", "/_sim/standing", &restricted).await;
        if !spec.starts_with("GET") {
            x.send(call()).await.expect(403);
        }
        let freed = json!({"account": "acme", "state": "active"});
        x.control("POST", "/_sim/standing", &freed).await;

        for (name, status) in [("usd", 402), ("spend_cap_usd", 403)] {
            let body = json!({"client_id": app, name: 0.0});
            x.control("POST", "/_sim/credits", &body).await;
            x.send(call()).await.expect(status);
        }
        let newer = json!({"newer_credits_problem": true});
        x.control("POST", "/_sim/options", &newer).await;
        let none = json!({"client_id": app, "usd": 0.0});
        x.control("POST", "/_sim/credits", &none).await;
        x.send(call()).await.expect(402);
        x.control("POST", "/_sim/credits", &json!({"client_id": app}))
            .await;

        let narrow = json!({"username": "narrow", "scope": "offline.access", "client_id": "r", "oauth1_access": "read"});
        let narrow = x.user_with(&narrow).await;
        let unscoped = ground.good(spec).bearer(narrow.oauth2("access_token"));
        x.send(unscoped).await.expect(403);
        let seen = Keys::user(&narrow).send(&x, ground.good(spec), &[]).await;
        assert_eq!(seen.status == 403, !reads(spec), "{spec}: {}", seen.status);

        let limit = |remaining: u32| json!({"account": "acme", "route": spec, "limit": 1_000, "remaining": remaining});
        x.control("POST", "/_sim/limits", &limit(0)).await;
        x.send(call()).await.expect(429);
        x.control("POST", "/_sim/limits", &limit(1_000)).await;

        let bad = faulty(spec).bearer(acme.oauth2("access_token"));
        x.send(bad).await.expect(400);
        if let Some(request) = ground.about_nothing(spec) {
            let seen = x.send(request.bearer(acme.oauth2("access_token"))).await;
            let wanted = match spec {
                "POST /2/tweets" => 400,
                _ if reads(spec) => 200,
                _ => 404,
            };
            assert_eq!(seen.status, wanted, "{spec}");
            if wanted == 200 {
                assert!(seen.json()["errors"].is_array(), "{spec}");
            }
        }
        if !route(spec)["request"].as_object().unwrap().is_empty() {
            let heavy = ground.good(spec).bearer(acme.oauth2("access_token"));
            let heavy = heavy.body("application/json", vec![b' '; EDGE + 1]);
            assert_eq!(x.send(heavy).await.status, 413, "{spec}");
        }

        let seen = x.send(call()).await;
        let told = String::from_utf8_lossy(&seen.body).into_owned();
        assert!(seen.status < 300, "{spec}: {told}");
        assert!(seen.json().get("data").is_some(), "{spec}: {told}");
    }
}

#[tokio::test]
async fn the_several_forms_of_success_are_those_of_the_spec() {
    let x = X::with(&json!({"self_serve": false})).await;
    let acme = x
        .user_with(&json!({"username": "acme", "premium": true}))
        .await;
    // Pictures, GIFs, films and subtitles are described by different members, and so are their states.
    let (gif, film) = (crate::media_files::gif(900), mp4(50_000, 4));
    for (category, kind, file) in [
        ("tweet_gif", "image/gif", &gif),
        ("amplify_video", "video/mp4", &film),
    ] {
        let done = chunked(&x, &acme, category, kind, file).await;
        let id = id_of(&done);
        for seconds in [0, 60] {
            x.advance(seconds).await;
            x.send(crate::media_files::status(&acme, &id))
                .await
                .expect(200);
        }
    }
    let first = x.send(acme.post(&"long ".repeat(100))).await.expect(201);
    let id = &first["data"]["id"];
    for body in [
        json!({"text": "a reply", "reply": {"in_reply_to_tweet_id": id}}),
        json!({"text": "a quote", "quote_tweet_id": id}),
        json!({"text": "edited", "edit_options": {"previous_post_id": id}}),
    ] {
        x.send(acme.call("POST", "/2/tweets").json(&body))
            .await
            .expect(201);
    }
    let fields = "tweet.fields=created_at,author_id,attachments,referenced_tweets,note_tweet&post.fields=note_post";
    let path = format!("/2/users/{}/tweets?{fields}&max_results=5", acme.id());
    let page = x.send(acme.call("GET", &path)).await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 3);
    let gone = format!("/2/tweets?ids={},{}", id.as_str().unwrap(), 1);
    let body = x.send(acme.call("GET", &gone)).await.expect(200);
    assert_eq!(body["errors"].as_array().unwrap().len(), 2);
    assert_eq!(body.get("data"), None::<&Value>);
}
