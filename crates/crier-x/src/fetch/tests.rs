//! Against a server of our own that plays the internet: what it answers, and what it never gets to see.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

/// Serialises the tests that count look-ups.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
static PORT: Mutex<u16> = Mutex::new(0);
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01";

/// The internet of the tests: names end in `.test`.
fn resolve(name: &str) -> Vec<IpAddr> {
    let list: &[&str] = match name {
        "files.test" | "files.test." => &["93.184.216.34", "2606:4700::1111"],
        "inner.test" => &["10.0.0.7"],
        "mixed.test" => &["93.184.216.34", "169.254.169.254"],
        "mapped.test" => &["::ffff:127.0.0.1"],
        // The first look-up is harmless.
        "rebind.test" if LOOKUPS.fetch_add(1, Ordering::SeqCst) == 0 => &["93.184.216.34"],
        "rebind.test" => &["127.0.0.1"],
        _ => &[],
    };
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// Every public address is the test's server; nothing else is anywhere.
fn place(address: SocketAddr) -> SocketAddr {
    assert!(
        crier_core::media::is_public(address.ip()),
        "{address} is asked"
    );
    ([127, 0, 0, 1], *PORT.lock().unwrap()).into()
}

fn fetcher(options: FetchOptions) -> Fetcher {
    Fetcher {
        options,
        network: Network {
            resolve: Some(resolve),
            place,
        },
    }
}

fn quick() -> FetchOptions {
    FetchOptions {
        rules: UrlRules {
            allow_http: true,
            ..UrlRules::default()
        },
        timeout: Duration::from_secs(3),
        stall: Duration::from_millis(300),
        ..FetchOptions::default()
    }
}

/// Answers each connection with what `answer` says for its path; a slice that ends with a pause keeps it open.
async fn serve(answer: fn(&str) -> (Vec<u8>, Then)) -> Arc<Mutex<Vec<String>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    *PORT.lock().unwrap() = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = told.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(request);
                let (bytes, then) = answer(path.split('?').next().unwrap_or_default());
                let _ = stream.write_all(&bytes).await;
                match then {
                    Then::Close => {}
                    Then::Hang => tokio::time::sleep(Duration::from_mins(1)).await,
                    Then::Endless => while stream.write_all(&[7; 8_192]).await.is_ok() {},
                    Then::Drip => {
                        while stream.write_all(&[7]).await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
            });
        }
    });
    seen
}

enum Then {
    Close,
    Hang,
    Endless,
    Drip,
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn to(place: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn answer(path: &str) -> (Vec<u8>, Then) {
    let video = b"\0\0\0\x18ftypisom";
    let bytes = match path {
        "/plain" => ok("content-length: 24\r\ncontent-type: text/html\r\n", PNG),
        "/chunked" => ok(
            "transfer-encoding: chunked\r\n",
            b"18\r\n\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\r\n0\r\n\r\n",
        ),
        "/one" => to("/two"),
        "/two" => to("http://files.test/three"),
        "/three" => to("//files.test/plain"),
        "/four" => to("/one"),
        "/inner" => to("http://inner.test/plain"),
        "/literal" => to("http://127.0.0.1/plain"),
        "/metadata" => to("http://169.254.169.254/latest/meta-data/"),
        "/file" => to("file:///etc/passwd"),
        "/user" => to("http://u:p@files.test/plain"),
        "/port" => to("http://files.test:22/plain"),
        "/nowhere" => b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
        "/page" => ok("", b"<html>log in first</html>"),
        "/empty" => ok("content-length: 0\r\n", b""),
        "/lies" => ok("content-length: 900\r\n", PNG),
        "/down" => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec(),
        "/huge" => ok(
            "content-length: 99999999999\r\n",
            &[PNG, &[0; 5_000]].concat(),
        ),
        "/endless" => return (ok("", PNG), Then::Endless),
        "/drip" => return (ok("", video), Then::Drip),
        "/hang" => return (ok("", PNG), Then::Hang),
        "/silent" => return (Vec::new(), Then::Hang),
        "/rude" => return (b"\0\x01\x02 what\r\n".to_vec(), Then::Close),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    };
    (bytes, Then::Close)
}

async fn get(from: &Fetcher, url: &str) -> Result<(Fetched, Vec<u8>), (String, bool)> {
    let mut file = Vec::new();
    match from.fetch(url, None, &mut file).await {
        Ok(fetched) => Ok((fetched, file)),
        Err(fault) => {
            assert_eq!(&*fault.step, "media");
            assert!(
                !fault.detail.is_empty() && !fault.hint.is_empty(),
                "{fault}"
            );
            assert!(!fault.detail.contains("hunter22"), "{fault}");
            Err((fault.code, fault.permanent))
        }
    }
}

#[tokio::test]
async fn a_file_is_fetched_and_known_by_its_hash() {
    let _turn = TURN.lock().await;
    let seen = serve(answer).await;
    let web = fetcher(quick());
    for url in [
        "http://files.test/plain",
        "http://FILES.test./plain",
        "http://files.test/chunked?sig=hunter22#part",
        "http://files.test/one",
    ] {
        let (fetched, file) = get(&web, url).await.unwrap();
        assert_eq!(file, PNG, "{url}");
        assert_eq!(fetched.bytes, 24);
        let sha256 = hex(&Sha256::digest(PNG));
        assert_eq!((fetched.sha256.len(), fetched.sha256), (64, sha256));
    }
    let first = seen.lock().unwrap()[0].to_lowercase();
    assert!(first.starts_with("get /plain http/1.1\r\n"), "{first}");
    assert!(first.contains("\r\nhost: files.test\r\n"));
    assert!(first.contains("\r\naccept-encoding: identity\r\n"));
    assert!(!first.contains("authorization") && !first.contains("cookie"));
}

#[tokio::test]
async fn nothing_inside_is_asked_whatever_leads_there() {
    let _turn = TURN.lock().await;
    let seen = serve(answer).await;
    let web = fetcher(quick());
    let refused = ("media_url_refused".to_owned(), true);
    for url in [
        "http://inner.test/plain",
        "http://mixed.test/plain",
        "http://mapped.test/plain",
        "http://127.0.0.1/plain",
        "http://[::1]/plain",
        "http://localhost/plain",
        "http://files.test:8080/plain",
        "ftp://files.test/plain",
        "http://user:hunter22@files.test/plain",
    ] {
        assert_eq!(get(&web, url).await.unwrap_err(), refused, "{url}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0, "nobody was asked");
    for path in ["inner", "literal", "metadata", "file", "user", "port"] {
        let url = format!("http://files.test/{path}");
        assert_eq!(get(&web, &url).await.unwrap_err(), refused, "{url}");
    }
    assert_eq!(
        seen.lock().unwrap().len(),
        6,
        "only what redirects was asked"
    );
    let mut strict = quick();
    strict.rules.allow_http = false;
    let plain = get(&fetcher(strict), "http://files.test/plain").await;
    assert_eq!(plain.unwrap_err(), refused);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere() {
    let _turn = TURN.lock().await;
    let seen = serve(answer).await;
    LOOKUPS.store(0, Ordering::SeqCst);
    let web = fetcher(quick());
    // The connection goes to the address that was checked: there is no second look-up of it.
    assert!(get(&web, "http://rebind.test/plain").await.is_ok());
    assert_eq!(LOOKUPS.load(Ordering::SeqCst), 1);
    let again = get(&web, "http://rebind.test/plain").await.unwrap_err();
    assert_eq!(again, ("media_url_refused".to_owned(), true));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_server_may_do_wrong_has_its_word() {
    let _turn = TURN.lock().await;
    serve(answer).await;
    let web = fetcher(quick());
    for (path, code, permanent) in [
        ("gone", "media_url_status", false),
        ("down", "media_url_unreachable", false),
        ("nowhere", "media_url_status", false),
        ("four", "media_url_redirects", false),
        ("page", "media_kind", false),
        ("empty", "media_empty", false),
        ("lies", "media_url_unreachable", false),
        ("hang", "media_url_unreachable", false),
        ("silent", "media_url_unreachable", false),
        ("drip", "media_url_unreachable", false),
        ("rude", "media_url_unreachable", false),
        ("huge", "media_too_large", true),
        ("endless", "media_too_large", true),
    ] {
        let url = format!("http://files.test/{path}?hunter22");
        let said = tokio::time::timeout(Duration::from_secs(10), get(&web, &url));
        let said = said.await.expect("it ends in time").unwrap_err();
        assert_eq!(said, (code.to_owned(), permanent), "{path}");
    }
    // The server speaks no TLS, and nobody falls back to plain text.
    let plain = get(&web, "https://files.test/plain").await;
    let unreachable = ("media_url_unreachable".to_owned(), false);
    assert_eq!(plain.unwrap_err(), unreachable);
    let none = get(&web, "http://none.test/").await.unwrap_err();
    assert_eq!(none, ("media_url_unreachable".to_owned(), false));
    // One byte less than it has, by the operator's own bound.
    let mut small = quick();
    small.max_bytes = 23;
    let said = get(&fetcher(small), "http://files.test/plain").await;
    assert_eq!(said.unwrap_err(), ("media_too_large".to_owned(), true));
}

#[tokio::test]
async fn who_allows_it_fetches_from_this_very_machine() {
    let _turn = TURN.lock().await;
    serve(answer).await;
    let port = *PORT.lock().unwrap();
    let mut open = quick();
    open.rules.allow_private = true;
    open.rules.ports = vec![port];
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}/plain");
        let (fetched, _) = get(&Fetcher::new(open.clone()), &url).await.unwrap();
        assert_eq!(fetched.bytes, 24);
    }
    *PORT.lock().unwrap() = 0;
    let closed = get(&Fetcher::new(open), "http://127.0.0.1:1/plain").await;
    assert_eq!(closed.unwrap_err().0, "media_url_refused");
}
