//! Which answers count, and where they are taken.

use secrecy::ExposeSecret;

use super::*;

fn state() -> Expected {
    Expected::State("st4te".into())
}

fn token() -> Expected {
    Expected::RequestToken("t0ken".into())
}

/// `yes CODE`, `no WORDS`, or what is wrong with it.
fn said(expected: &Expected, query: &str) -> String {
    match expected.read(&fields(query)) {
        Ok(Decision::Granted(code)) => format!("yes {}", code.expose_secret()),
        Ok(Decision::Refused(words)) => format!("no {words}"),
        Err(stray) => format!("{stray:?}"),
    }
}

#[test]
fn an_answer_counts_only_with_the_state_of_this_login() {
    for (query, means) in [
        ("state=st4te&code=c%2B1", "yes c+1"),
        ("code=c&state=st4te&more=x", "yes c"),
        ("state=st4te&error=access_denied", "no access_denied"),
        (
            "error=server_error&error_description=try+later&state=st4te&code=c",
            "no server_error try later",
        ),
        ("state=other&code=c", "Foreign"),
        ("state=st4te2&code=c", "Foreign"),
        ("state=&code=c", "Foreign"),
        ("state=other&error=access_denied", "Foreign"),
        ("code=c", "Empty"),
        ("error=access_denied", "Empty"),
        ("state=st4te", "Empty"),
        ("state=st4te&code=", "Empty"),
        ("", "Empty"),
    ] {
        assert_eq!(said(&state(), query), means, "{query}");
    }
}

#[test]
fn an_answer_of_oauth_1_counts_only_with_its_request_token() {
    for (query, means) in [
        ("oauth_token=t0ken&oauth_verifier=v", "yes v"),
        ("denied=t0ken", "no access_denied"),
        ("oauth_token=other&oauth_verifier=v", "Foreign"),
        ("denied=other", "Foreign"),
        ("oauth_token=t0ken", "Empty"),
        ("oauth_verifier=v", "Empty"),
    ] {
        assert_eq!(said(&token(), query), means, "{query}");
    }
}

#[test]
fn the_place_is_the_callback_to_the_letter() {
    let place = |uri, port, by_hand| Place::new(uri, port, by_hand).unwrap();
    let listens = |place: &Place| place.listen.map(|address| address.to_string());
    let free = place(None, None, false);
    assert_eq!(
        (free.uri.clone(), listens(&free), free.path.as_str()),
        (None, Some("127.0.0.1:0".into()), "/callback")
    );
    assert_eq!(
        listens(&place(None, Some(9000), false)).as_deref(),
        Some("127.0.0.1:9000")
    );
    let by_hand = place(None, None, true);
    assert_eq!(
        (by_hand.uri.as_deref(), listens(&by_hand)),
        (Some("http://127.0.0.1:8723/callback"), None)
    );
    for (uri, port, address, path) in [
        ("http://127.0.0.1:8723", None, "127.0.0.1:8723", "/"),
        ("http://localhost:81/a/b?c=d", None, "127.0.0.1:81", "/a/b"),
        ("http://[::1]:82/cb", None, "[::1]:82", "/cb"),
        (
            "http://127.0.0.1:8723/cb",
            Some(1234),
            "127.0.0.1:1234",
            "/cb",
        ),
        (
            "https://acme.example/cb",
            Some(1234),
            "127.0.0.1:1234",
            "/cb",
        ),
    ] {
        let there = place(Some(uri), port, false);
        assert_eq!(
            (
                there.uri.as_deref(),
                listens(&there).as_deref(),
                there.path.as_str()
            ),
            (Some(uri), Some(address), path)
        );
    }
    for uri in [
        "https://acme.example/cb",
        "acme://callback",
        "http://10.0.0.1/cb",
    ] {
        let error = Place::new(Some(uri), None, false).unwrap_err();
        assert!(
            error.to_string().contains("does not come to this machine"),
            "{error}"
        );
        assert_eq!(place(Some(uri), None, true).uri.as_deref(), Some(uri));
    }
    assert!(Place::new(Some("callback"), None, true).is_err());
}
