//! Sealing of tokens and client secrets: XChaCha20-Poly1305, bound to what they belong to.
//!
//! **Invariant:** a sealed value opens only with its key and only as what it was sealed for; a value moved to another
//! account, cut or altered does not open.

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::{Digest, Sha256};

/// Bytes of a nonce (`XChaCha20`: 24, large enough to be drawn at random for ever).
const NONCE_BYTES: usize = 24;
/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What is wrong with a key or a sealed value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not 32 bytes in base64.
    #[error("the key must be 32 bytes in base64")]
    Form,
    /// The value was sealed with another key.
    #[error("it was sealed with key `{sealed_with}`, and what is configured is {configured}")]
    OtherKey {
        /// Key id in the database.
        sealed_with: String,
        /// Key ids of the configured keys.
        configured: String,
    },
    /// Cut, altered or moved.
    #[error("the sealed value does not open: it was cut, altered, or belongs to something else")]
    Damaged,
}

/// A key that seals and opens.
#[derive(Clone)]
pub struct SealKey {
    bytes: SecretSlice<u8>,
    id: String,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SealKey {
    /// Reads a key of 32 bytes in base64.
    pub fn from_base64(text: &SecretString) -> Result<Self, KeyError> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text.expose_secret().trim())
            .map_err(|_| KeyError::Form)?;
        if bytes.len() != KEY_BYTES {
            return Err(KeyError::Form);
        }
        let digest = Sha256::digest([b"crier key id".as_slice(), &bytes].concat());
        let id = digest
            .iter()
            .take(4)
            .fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
        Ok(Self {
            bytes: bytes.into(),
            id,
        })
    }

    /// The key's name: it tells keys apart and tells nothing about them.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, KeyError> {
        let key = Key::try_from(self.bytes.expose_secret()).map_err(|_| KeyError::Form)?;
        Ok(XChaCha20Poly1305::new(&key))
    }

    /// Seals `plain` for `purpose`. The nonce comes from the operating system: chance that must never repeat cannot be
    /// a parameter.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce = XNonce::generate();
        let sealed = self
            .cipher()?
            .encrypt(
                &nonce,
                Payload {
                    msg: plain,
                    aad: purpose.as_bytes(),
                },
            )
            .map_err(|_| KeyError::Damaged)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`SealKey::seal`] made for the same purpose with the key named `key_id`.
    pub fn open(&self, purpose: &str, key_id: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        if key_id != self.id {
            return Err(KeyError::OtherKey {
                sealed_with: key_id.to_owned(),
                configured: format!("key `{}`", self.id),
            });
        }
        let (nonce, body) = sealed
            .split_at_checked(NONCE_BYTES)
            .ok_or(KeyError::Damaged)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| KeyError::Damaged)?;
        self.cipher()?
            .decrypt(
                &nonce,
                Payload {
                    msg: body,
                    aad: purpose.as_bytes(),
                },
            )
            .map_err(|_| KeyError::Damaged)
    }
}

/// The keys of a process: one seals, all of them open.
#[derive(Debug, Clone)]
pub(crate) struct KeyRing {
    current: SealKey,
    others: Vec<SealKey>,
}

impl KeyRing {
    pub(crate) fn new(current: SealKey, others: Vec<SealKey>) -> Self {
        Self { current, others }
    }

    /// The key that seals.
    pub(crate) fn current(&self) -> &SealKey {
        &self.current
    }

    /// Every key, the one that seals first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.current).chain(&self.others)
    }

    /// Opens a value with the key that it names.
    pub(crate) fn open(
        &self,
        purpose: &str,
        key_id: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        match self.keys().find(|key| key.id() == key_id) {
            Some(key) => key.open(purpose, key_id, sealed),
            None => Err(KeyError::OtherKey {
                sealed_with: key_id.to_owned(),
                configured: self
                    .keys()
                    .map(|key| format!("key `{}`", key.id()))
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> SealKey {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode([fill; 32]);
        SealKey::from_base64(&text.into()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let key = key(7);
        let sealed = key.seal("account:1", b"token").unwrap();
        assert_eq!(key.open("account:1", key.id(), &sealed).unwrap(), b"token");
        assert_eq!(
            key.open("account:2", key.id(), &sealed),
            Err(KeyError::Damaged)
        );
        assert!(!sealed.windows(5).any(|w| w == b"token"));
    }

    #[test]
    fn another_key_is_named() {
        let sealed = key(7).seal("a", b"token").unwrap();
        assert!(matches!(
            key(8).open("a", key(7).id(), &sealed),
            Err(KeyError::OtherKey { .. })
        ));
        assert_eq!(
            key(8).open("a", key(8).id(), &sealed),
            Err(KeyError::Damaged)
        );
    }

    #[test]
    fn a_ring_opens_with_any_of_its_keys_and_seals_with_one() {
        let (old, new) = (key(7), key(8));
        let ring = KeyRing::new(new.clone(), vec![old.clone()]);
        for sealing in [&old, &new] {
            let sealed = sealing.seal("a", b"token").unwrap();
            assert_eq!(ring.open("a", sealing.id(), &sealed).unwrap(), b"token");
            assert_eq!(
                ring.open("b", sealing.id(), &sealed),
                Err(KeyError::Damaged)
            );
        }
        assert_eq!(ring.current().id(), new.id());
        let sealed = key(9).seal("a", b"token").unwrap();
        let error = ring.open("a", key(9).id(), &sealed).unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, KeyError::OtherKey { .. }));
        for id in [old.id(), new.id(), key(9).id()] {
            assert!(told.contains(id), "{told}");
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let key = key(7);
        let sealed: std::collections::BTreeSet<Vec<u8>> = (0..1000)
            .map(|_| key.seal("a", b"token").unwrap()[..NONCE_BYTES].to_vec())
            .collect();
        assert_eq!(sealed.len(), 1000);
    }

    #[test]
    fn a_cut_or_altered_value_does_not_open() {
        let key = key(7);
        let sealed = key.seal("a", b"token").unwrap();
        for end in 0..sealed.len() {
            assert_eq!(
                key.open("a", key.id(), &sealed[..end]),
                Err(KeyError::Damaged)
            );
        }
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open("a", key.id(), &altered), Err(KeyError::Damaged));
        }
    }

    #[test]
    fn a_key_of_the_wrong_form_is_refused_and_never_shown() {
        for text in ["", "c2hvcnQ=", "not base64 at all!"] {
            assert_eq!(
                SealKey::from_base64(&text.to_owned().into()).unwrap_err(),
                KeyError::Form
            );
        }
        assert_eq!(
            format!("{:?}", key(7)),
            format!("SealKey {{ id: {:?}, .. }}", key(7).id())
        );
    }
}
