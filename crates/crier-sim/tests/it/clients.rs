//! What published clients do that the documents leave open.

use serde_json::json;

use crate::client::{Request, User, X};
use crate::media_files::{append, mp4, open, png, status};
use crate::tokens::basic;

#[tokio::test]
async fn types_may_name_a_charset() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let post = json!({"text": "with a charset"}).to_string();
    let post = acme
        .call("POST", "/2/tweets")
        .body("application/json; charset=UTF-8", post);
    x.send(post).await.expect(201);
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        acme.oauth2("refresh_token")
    );
    let refresh = Request::new("POST", "/2/oauth2/token")
        .header("authorization", &basic(&acme))
        .body("application/x-www-form-urlencoded;charset=utf-8", form);
    x.send(refresh).await.expect(200);
    let upload = acme.call("POST", "/2/media/upload").body(
        "multipart/form-data; charset=utf-8; boundary=\"edge\"",
        [
            b"--edge\r\nContent-Disposition: form-data; name=\"media_category\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ntweet_image\r\n--edge\r\nContent-Disposition: form-data; name=\"media\"; filename=\"blob\"\r\n\r\n".to_vec(),
            png(600),
            b"\r\n--edge--\r\n".to_vec(),
        ]
        .concat(),
    );
    x.send(upload).await.expect(200);
}

#[tokio::test]
async fn the_token_endpoint_takes_json_and_forms() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let call = |path: &str| Request::new("POST", path).header("authorization", &basic(&acme));
    let refresh =
        json!({"grant_type": "refresh_token", "refresh_token": acme.oauth2("refresh_token")});
    let body = x
        .send(call("/2/oauth2/token").json(&refresh))
        .await
        .expect(200);
    assert_eq!(body["scope"], acme.oauth2("scope"), "the granted scope");
    assert_eq!(x.last_request().await["account"], "acme");
    x.send(call("/2/oauth2/revoke").json(&json!({"token": body["refresh_token"]})))
        .await
        .expect(200);
    let me = Request::new("GET", "/2/users/me").bearer(body["access_token"].as_str().unwrap());
    x.send(me).await.expect(401);
}

fn finalize_bare(user: &User, id: &str) -> Request {
    user.call("POST", &format!("/2/media/upload/{id}/finalize"))
}

#[tokio::test]
async fn finalize_without_a_body_is_on_request_and_a_film_ends_as_succeeded() {
    let x = X::with(&json!({"processing_delay_ms": 3_000})).await;
    let acme = x.user("acme").await;
    let file = mp4(2_000, 4);
    let id = open(&x, &acme, "tweet_video", "video/mp4", file.len()).await;
    x.send(append(&acme, &id, 0, &file)).await.expect(200);
    x.send(finalize_bare(&acme, &id))
        .await
        .says(400, "Request body must be a JSON object.");
    let option = json!({"finalize_without_body": true});
    x.control("POST", "/_sim/options", &option).await;
    let done = x.send(finalize_bare(&acme, &id)).await.expect(200);
    assert_eq!(done["data"]["processing_info"]["state"], "pending");
    x.advance(4).await;
    let told = x.send(status(&acme, &id)).await.expect(200);
    let info = &told["data"]["processing_info"];
    assert_eq!(
        info,
        &json!({"state": "succeeded", "progress_percent": 100})
    );
    let id_is_text = told["data"]["id"].as_str().unwrap();
    assert_eq!(id_is_text, id);
}

#[tokio::test]
async fn the_category_of_a_one_shot_upload_counts_only_in_the_body() {
    let x = X::start().await;
    let acme = x.user("acme").await;
    let query = acme
        .call("POST", "/2/media/upload?media_category=tweet_image")
        .multipart(Some(&png(600)), &[], true);
    x.send(query).await.says(400, "media_category");
    for media_last in [true, false] {
        let body = acme.call("POST", "/2/media/upload").multipart(
            Some(&png(600)),
            &[("media_category", "tweet_image")],
            media_last,
        );
        x.send(body).await.expect(200);
    }
}
