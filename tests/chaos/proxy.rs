//! A TCP proxy between one process and one of the two it talks to, which can slow, hold and cut what passes.
//!
//! What was held is delivered when the hold ends, even if its sender has given up: so do real networks.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Nothing passes, though connections stand.
    held: bool,
    /// What passes does so much later.
    delay: Duration,
    /// Connections of an earlier number are cut.
    number: u64,
}

pub(crate) struct Link {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    usual: Duration,
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

impl Link {
    /// A link to a port of this machine, which usually delays each packet by `usual`.
    pub(crate) async fn to(target: u16, usual: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, watched) = watch::channel(State {
            held: false,
            delay: usual,
            number: 0,
        });
        tokio::spawn(async move {
            loop {
                if let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(connection(near, target, watched.clone()));
                }
            }
        });
        Self { port, state, usual }
    }

    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.number += 1);
    }

    pub(crate) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    pub(crate) fn slow(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// As usual again.
    pub(crate) fn open(&self) {
        let usual = self.usual;
        self.state.send_modify(|state| {
            state.held = false;
            state.delay = usual;
        });
    }
}

async fn connection(near: TcpStream, target: u16, state: watch::Receiver<State>) {
    let number = state.borrow().number;
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let both = async {
        tokio::join!(
            carry(near_in, far_out, state.clone()),
            carry(far_in, near_out, state.clone())
        )
    };
    let cut = async {
        let _ = state.clone().wait_for(|now| now.number != number).await;
    };
    // Dropping both ends closes them, whatever lay between.
    tokio::select! {
        _ = both => {}
        () = cut => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let delay = state.borrow().delay;
        tokio::time::sleep(delay).await;
        if state.wait_for(|now| !now.held).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
