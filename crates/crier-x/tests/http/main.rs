//! The client against a real socket: the exact form of every request, and every way a call can fail.

#[cfg(test)]
mod anything;
#[cfg(test)]
mod departure;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod media;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod server;
