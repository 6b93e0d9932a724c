//! Addresses that media may be fetched from, judged by their letters and by what their names resolve to.
//!
//! **Invariant:** an address inside the network of the machine that fetches (loopback, private, link-local with the
//! metadata service of clouds, carrier-grade NAT, unique local, multicast, and IPv4 in the clothes of IPv6) passes only
//! where `allow_private` says so; a message never repeats user, password, query or fragment of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::fault::Fault;

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlRules {
    /// Plain http too.
    pub allow_http: bool,
    /// Addresses inside the network too.
    pub allow_private: bool,
    /// Ports that may be asked.
    pub ports: Vec<u16>,
}

impl Default for UrlRules {
    fn default() -> Self {
        Self {
            allow_http: false,
            allow_private: false,
            ports: vec![80, 443],
        }
    }
}

impl UrlRules {
    /// The address if it may be fetched, by its letters alone.
    ///
    /// # Errors
    /// `media_url_refused`, for good.
    pub fn check(&self, text: &str) -> Result<Url, Fault> {
        let url = parse(text).map_err(|why| refused("the address", &why, HINT_FORM))?;
        let shown = shown(&url);
        if url.scheme() == "http" && !self.allow_http {
            let hint = "give an https address, or set `media.url_allow_http`";
            return Err(refused(&shown, "is not https", hint));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.contains(&port) {
            let why = format!("has the port {port}");
            let hint = "give an address with a usual port, or add it to `media.url_ports`";
            return Err(refused(&shown, &why, hint));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_ip(&url, address.into())?,
            Some(Host::Ipv6(address)) => self.check_ip(&url, address.into())?,
            Some(Host::Domain(name)) if !self.allow_private && is_local_name(name) => {
                return Err(refused(&shown, "is this very machine", HINT_PRIVATE));
            }
            Some(Host::Domain(_)) | None => {}
        }
        Ok(url)
    }

    /// Whether what the name of `url` resolved to may be connected to.
    ///
    /// # Errors
    /// `media_url_refused`, for good.
    pub fn check_ip(&self, url: &Url, address: IpAddr) -> Result<(), Fault> {
        if self.allow_private || is_public(address) {
            return Ok(());
        }
        let why = format!("leads to {address}, which is not on the public internet");
        Err(refused(&shown(url), &why, HINT_PRIVATE))
    }
}

const HINT_FORM: &str =
    "give an https address such as `https://example.com/a.png`, or the `path` of a file";
const HINT_PRIVATE: &str = "put the file where the internet sees it or into the media folder; `media.url_allow_private` allows inner addresses";

fn refused(shown: &str, why: &str, hint: &str) -> Fault {
    Fault::new(
        "media_url_refused",
        "an address is not fetched",
        format!("`{shown}` {why}"),
        hint,
    )
    .at_step("media")
}

/// An address as messages show it: what may be secret in it is left out.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let path: String = url.path().chars().take(200).collect();
    format!(
        "{}://{host}{}{path}",
        url.scheme(),
        port.as_deref().unwrap_or_default()
    )
}

/// An address that could be fetched from some machine, or what is wrong with its letters.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    // The parser would mend these, and people would be surprised at where it leads.
    if text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
    {
        return Err("holds a space, a line break or a backslash".to_owned());
    }
    if !text.contains("://") || text.contains(":///") {
        return Err("has no scheme or no host".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither https nor http".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password".to_owned());
    }
    if !url.has_host() || url.host_str().is_some_and(str::is_empty) {
        return Err("has no host".to_owned());
    }
    Ok(url)
}

/// RFC 6761: `localhost` and what is below it never leaves the machine.
fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .rsplit_once('.')
            .is_some_and(|(_, last)| last.eq_ignore_ascii_case("localhost"))
}

/// Whether an address is on the public internet, by IANA's registries of special-purpose addresses.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private, loopback, link-local (clouds' metadata), private, benchmarks, multicast and above.
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 168, _)
            | (192, 175, 48)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // A gateway to IPv4 is as public as where it leads.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocols, documentation, and tunnels that hide an IPv4 address.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // The one block that addresses of the internet are given from; IPv4 in IPv6 lies outside of it.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests;
