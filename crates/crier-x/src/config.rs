//! What the client must be told before its first call, and what is refused at once.
//!
//! **Invariant:** a client that exists speaks TLS, or plain HTTP to this very machine only.

use std::time::Duration;

use url::{Host, Url};

/// How a segment travels. X has refused multipart for days at a time (May and June 2025), so both forms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaEncoding {
    /// `multipart/form-data` with the raw bytes.
    #[default]
    Multipart,
    /// `application/json` with the bytes in base64, a third larger.
    Json,
}

/// Where X is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct XConfig {
    /// Base of the API, such as `https://api.x.com`; a path in it is kept as a prefix.
    pub api_base: Url,
    /// Base of the token and revoke endpoints, usually the same as `api_base`.
    pub token_base: Url,
    /// Base of the pages on which people grant access, where it is another than X's own (`https://x.com` for
    /// `https://api.x.com`) or that of the API. It is shown, never called.
    pub authorize_base: Option<Url>,
    /// Longest time for a connection, name lookup and TLS included; shorter than `timeout`, so that a connection that
    /// never came about is known as such.
    pub connect_timeout: Duration,
    /// Longest time for one call, from its start to the last byte of the answer.
    pub timeout: Duration,
    /// The same for the append call, which carries up to some megabytes.
    pub upload_timeout: Duration,
    /// `User-Agent` of every call.
    pub user_agent: String,
    /// How segments travel.
    pub media_encoding: MediaEncoding,
}

impl XConfig {
    /// A configuration with the usual times: 10 s to connect, 30 s a call (creations of up to 10 s were seen), 120 s
    /// an append.
    pub fn new(api_base: Url, token_base: Url) -> Self {
        Self {
            api_base,
            token_base,
            authorize_base: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_mins(2),
            user_agent: concat!("crier/", env!("CARGO_PKG_VERSION")).to_owned(),
            media_encoding: MediaEncoding::default(),
        }
    }

    /// Longest time for a connection; a part of the time for the call, whatever is configured.
    pub fn connect_within(&self) -> Duration {
        self.connect_timeout.min(self.timeout / 2)
    }

    /// What was written to a connection has arrived after this time, or never will: the system gives the connection up
    /// (`TCP_USER_TIMEOUT`), so that no cut network delivers a call minutes after it left. With the time to connect it
    /// is the time for a call.
    pub fn delivered_within(&self) -> Duration {
        self.timeout.saturating_sub(self.connect_within())
    }

    /// Whether both bases are plain HTTP, to this machine.
    pub(crate) fn is_plain(&self) -> bool {
        self.api_base.scheme() == "http" && self.token_base.scheme() == "http"
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_base("API base", &self.api_base)?;
        check_base("token base", &self.token_base)?;
        if let Some(base) = &self.authorize_base {
            check_base("authorize base", base)?;
        }
        if self.connect_timeout.is_zero()
            || self.connect_timeout >= self.timeout.min(self.upload_timeout)
        {
            return Err(ConfigError::Times);
        }
        Ok(())
    }
}

/// Why no client can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A base is neither https nor plain HTTP to loopback.
    #[error(
        "the {which} `{base}` is not https: plain HTTP goes to this machine only; \
         use https, or a loopback address such as http://127.0.0.1:8090"
    )]
    NotEncrypted {
        /// Which base.
        which: &'static str,
        /// Its scheme, host and port, without what else it holds.
        base: String,
    },
    /// A base holds a user name, a password, a query or a fragment.
    #[error(
        "the {which} may hold a scheme, a host, a port and a path only: remove user, password, `?` and `#`"
    )]
    BaseWithExtras {
        /// Which base.
        which: &'static str,
    },
    /// The times contradict each other.
    #[error(
        "the connect timeout must be above zero and below the timeouts of a call and of an upload"
    )]
    Times,
    /// The HTTP client could not be set up.
    #[error(
        "the HTTP client could not be set up: {detail}; are root certificates (`ca-certificates`) installed?"
    )]
    Setup {
        /// What the HTTP library said.
        detail: String,
    },
}

pub(crate) fn check_base(which: &'static str, base: &Url) -> Result<(), ConfigError> {
    let loopback = match base.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let encrypted = base.scheme() == "https" && base.has_host();
    if !(encrypted || (base.scheme() == "http" && loopback)) {
        return Err(ConfigError::NotEncrypted {
            which,
            base: origin(base),
        });
    }
    let extras = !base.username().is_empty()
        || base.password().is_some()
        || base.query().is_some()
        || base.fragment().is_some();
    if extras {
        Err(ConfigError::BaseWithExtras { which })
    } else {
        Ok(())
    }
}

fn origin(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    match base.port() {
        Some(port) => format!("{}://{host}:{port}", base.scheme()),
        None => format!("{}://{host}", base.scheme()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str) -> Result<(), ConfigError> {
        let safe = Url::parse("https://api.x.com").unwrap();
        XConfig::new(Url::parse(base).unwrap(), safe.clone()).check()?;
        XConfig::new(safe, Url::parse(base).unwrap()).check()
    }

    #[test]
    fn https_and_loopback_are_accepted() {
        for base in [
            "https://api.x.com",
            "https://h/p/",
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:8",
            "http://LOCALHOST:8090",
        ] {
            check(base).unwrap();
        }
    }

    #[test]
    fn plain_http_beyond_this_machine_is_refused() {
        for base in [
            "http://api.x.com",
            "http://10.0.0.1",
            "http://localhost.evil.org",
            "http://0.0.0.0",
            "ftp://127.0.0.1",
            "file:///x",
            "http://[::2]",
        ] {
            let error = check(base).unwrap_err();
            assert!(
                matches!(error, ConfigError::NotEncrypted { .. }),
                "{base}: {error}"
            );
            assert!(error.to_string().contains("loopback"));
        }
    }

    #[test]
    fn a_password_in_a_base_is_refused_and_not_repeated() {
        for base in [
            "https://u:hunter22@api.x.com",
            "http://u:hunter22@api.x.com",
            "https://api.x.com?t=hunter22",
        ] {
            let error = check(base).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hunter22"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_connection_must_fail_before_its_call_does() {
        let safe = Url::parse("https://api.x.com").unwrap();
        let mut config = XConfig::new(safe.clone(), safe);
        config.connect_timeout = config.timeout;
        assert!(matches!(config.check(), Err(ConfigError::Times)));
    }
}
