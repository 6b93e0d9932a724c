//! Media from an address: from anywhere on the internet into a file of ours, and from nowhere else.
//!
//! **Invariant:** a request leaves only to an address that was checked: the name is resolved here, every address of it is
//! judged, and the connection goes to one of those, so that a name which changes its mind leads nowhere. Each redirect is
//! checked as the first address was. **Invariant:** what is fetched passes through in pieces; it ends at X's limit for what
//! its bytes are, whatever the server says of its type and length, and after a bounded time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crier_core::failpoint::{self, Deed};
use crier_core::fault::Fault;
use crier_core::media::{MediaCategory, UrlRules, shown, sniff};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, LOCATION};
use reqwest::{Client, Response, StatusCode, redirect, retry};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::{Host, Url};

use crate::faults::describe;

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 3;
/// What a fetch is called as a point at which a process may die.
const FETCH: &str = "GET media";
/// So many bytes tell what a file is.
const HEAD_BYTES: usize = 4096;

/// What may be fetched, and how long that may take.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Which addresses.
    pub rules: UrlRules,
    /// Most bytes of a file, whatever X takes.
    pub max_bytes: u64,
    /// Longest time for all of it.
    pub timeout: Duration,
    /// Longest time without a byte.
    pub stall: Duration,
    /// Longest time for a connection.
    pub connect_timeout: Duration,
    /// `User-Agent` of the requests.
    pub user_agent: String,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            rules: UrlRules::default(),
            max_bytes: 512 * 1024 * 1024,
            timeout: Duration::from_mins(10),
            stall: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            user_agent: concat!("crier/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A file that was fetched whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Fetches media. It keeps no connection: files come seldom, and from anywhere.
#[derive(Debug, Clone)]
pub struct Fetcher {
    options: FetchOptions,
    network: Network,
}

/// How names are resolved, and where a checked address really is. Tests stand in for the internet here.
#[derive(Debug, Clone, Copy)]
struct Network {
    resolve: Option<fn(&str) -> Vec<IpAddr>>,
    place: fn(SocketAddr) -> SocketAddr,
}

/// Answers every question for a name with the addresses that were checked.
struct Checked(Vec<SocketAddr>);

impl Resolve for Checked {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Fetcher {
    /// A fetcher by these options.
    pub fn new(options: FetchOptions) -> Self {
        Self {
            options,
            network: Network {
                resolve: None,
                place: |address| address,
            },
        }
    }

    /// Fetches what is at `text` into `into`, which is left as it is on a fault: to be thrown away. `category` is the one
    /// that the row names.
    ///
    /// # Errors
    /// A fault in words for people; [`Fault::passing`] if the same address may do better later.
    pub async fn fetch<W: AsyncWrite + Unpin>(
        &self,
        text: &str,
        category: Option<MediaCategory>,
        into: &mut W,
    ) -> Result<Fetched, Fault> {
        let url = self.options.rules.check(text)?;
        let whole = async {
            let (response, url) = self.open(&url).await?;
            self.receive(response, &url, category, into).await
        };
        failpoint::before(Deed::Call, FETCH);
        let fetched = match tokio::time::timeout(self.options.timeout, whole).await {
            Ok(done) => done,
            Err(_) => Err(unreachable(
                &url,
                &format!("took longer than {} s", self.options.timeout.as_secs()),
            )),
        };
        failpoint::after(Deed::Call, FETCH);
        fetched
    }

    /// The answer at the end of all redirects, and where it came from.
    async fn open(&self, first: &Url) -> Result<(Response, Url), Fault> {
        let mut url = first.clone();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.ask(&url).await?;
            let status = response.status();
            if !is_redirect(status) {
                if status == StatusCode::OK {
                    return Ok((response, url));
                }
                return Err(bad_status(&url, status));
            }
            let next = response
                .headers()
                .get(LOCATION)
                .and_then(|place| url.join(place.to_str().ok()?).ok())
                .ok_or_else(|| bad_status(&url, status))?;
            url = self.options.rules.check(next.as_str()).map_err(|fault| {
                let detail = format!("`{}` redirects; {}", shown(&url), fault.detail);
                Fault { detail, ..fault }
            })?;
        }
        Err(Fault::new(
            "media_url_redirects",
            "an address redirects too often",
            format!(
                "`{}` redirects more than {MOST_REDIRECTS} times",
                shown(first)
            ),
            "give the address at the end of the redirects",
        )
        .at_step("media")
        .passing())
    }

    /// Which addresses it may ask.
    pub(crate) const fn rules(&self) -> &UrlRules {
        &self.options.rules
    }

    async fn ask(&self, url: &Url) -> Result<Response, Fault> {
        let client = self.client(url).await?;
        client
            .get(url.clone())
            .header(ACCEPT_ENCODING, "identity")
            .send()
            .await
            .map_err(|error| unreachable(url, &describe(error)))
    }

    /// What asks this one host, at addresses that were checked, and follows no redirect.
    pub(crate) async fn client(&self, url: &Url) -> Result<Client, Fault> {
        let addresses = self.resolve(url).await?;
        // An error only says that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder();
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        builder
            .dns_resolver(Arc::new(Checked(addresses)))
            .user_agent(&self.options.user_agent)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.options.connect_timeout)
            .read_timeout(self.options.stall)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| unreachable(url, &describe(error)))
    }

    /// Every address of the URL's host, each of them checked.
    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, Fault> {
        let port = url.port_or_known_default().unwrap_or_default();
        let addresses: Vec<IpAddr> = match (url.host(), self.network.resolve) {
            (Some(Host::Ipv4(address)), _) => vec![address.into()],
            (Some(Host::Ipv6(address)), _) => vec![address.into()],
            (Some(Host::Domain(name)), Some(resolve)) => resolve(name),
            (Some(Host::Domain(name)), None) => tokio::net::lookup_host((name, port))
                .await
                .map_err(|error| unreachable(url, &format!("its name is not found: {error}")))?
                .map(|address| address.ip())
                .collect(),
            (None, _) => Vec::new(),
        };
        if addresses.is_empty() {
            return Err(unreachable(url, "its name has no address"));
        }
        for address in &addresses {
            self.options.rules.check_ip(url, *address)?;
        }
        Ok(addresses
            .into_iter()
            .map(|address| (self.network.place)(SocketAddr::new(address, port)))
            .collect())
    }

    async fn receive<W: AsyncWrite + Unpin>(
        &self,
        mut response: Response,
        url: &Url,
        category: Option<MediaCategory>,
        into: &mut W,
    ) -> Result<Fetched, Fault> {
        let told = response.content_length();
        let (mut bytes, mut hash) = (0_u64, Sha256::new());
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let mut most = None;
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| unreachable(url, &describe(error)))?;
            let ended = chunk.is_none();
            let chunk = chunk.unwrap_or_default();
            bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            let room = HEAD_BYTES - head.len();
            head.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if most.is_none() && (ended || head.len() == HEAD_BYTES) {
                let limit = self.limit(url, &head, category)?;
                // Before the rest is fetched in vain.
                check_bytes(url, told.unwrap_or(0).max(bytes), limit)?;
                most = Some(limit);
            }
            check_bytes(url, bytes, most.unwrap_or(self.options.max_bytes))?;
            if ended {
                break;
            }
            hash.update(&chunk);
            into.write_all(&chunk)
                .await
                .map_err(|error| unspooled(&error))?;
        }
        into.flush().await.map_err(|error| unspooled(&error))?;
        Ok(Fetched {
            bytes,
            sha256: hex(&hash.finalize()),
        })
    }

    /// The most bytes of a file that begins so.
    fn limit(&self, url: &Url, head: &[u8], category: Option<MediaCategory>) -> Result<u64, Fault> {
        let shown = shown(url);
        if head.is_empty() {
            return Err(Fault::new(
                "media_empty",
                "a file is empty",
                format!("`{shown}` has 0 bytes"),
                "put the whole file in place",
            )
            .at_step("media")
            .passing());
        }
        let Some(kind) = sniff(head) else {
            return Err(Fault::new(
                "media_kind",
                "a file is nothing that X takes",
                format!("what `{shown}` answers is no JPEG, PNG, GIF, WebP, BMP, TIFF, MP4, MOV, WebM or MPEG-TS by its first bytes"),
                "give the address of the file itself, not of a page that shows it",
            )
            .at_step("media")
            .passing());
        };
        let category = category.unwrap_or_else(|| kind.default_category());
        Ok(category.max_bytes().min(self.options.max_bytes))
    }
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn check_bytes(url: &Url, bytes: u64, most: u64) -> Result<(), Fault> {
    if bytes <= most {
        return Ok(());
    }
    Err(Fault::new(
        "media_too_large",
        "a file is larger than X takes",
        format!(
            "`{}` has {bytes} bytes or more; {most} are taken at most",
            shown(url)
        ),
        "make the file smaller; `media.url_max_bytes` bounds what is fetched at all",
    )
    .at_step("media"))
}

fn bad_status(url: &Url, status: StatusCode) -> Fault {
    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        return unreachable(url, &format!("answers {status}"));
    }
    Fault::new(
        "media_url_status",
        "an address does not answer with a file",
        format!("`{}` answers {status}", shown(url)),
        "give an address that answers anybody with the file",
    )
    .at_step("media")
    .passing()
}

/// What may be otherwise at another time.
fn unreachable(url: &Url, why: &str) -> Fault {
    Fault::new(
        "media_url_unreachable",
        "a file could not be fetched",
        format!("`{}`: {why}", shown(url)),
        "nothing to do if it passes; otherwise see whether the address can be reached from where the worker runs",
    )
    .at_step("media")
    .passing()
}

/// A fetched file cannot be written to its place on this machine.
#[must_use]
pub fn unspooled(error: &std::io::Error) -> Fault {
    Fault::new(
        "media_spool",
        "a fetched file cannot be kept",
        error.to_string(),
        "see to the room and the rights of `media.spool_dir`",
    )
    .at_step("media")
    .passing()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
