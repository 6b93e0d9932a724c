//! Settings that change while the loops run.
//!
//! **Invariant:** what is in hand goes by the settings that it began with; a loop takes new ones up between two rounds.

use std::sync::Arc;

use crier_x::XClient;
use tokio::sync::{Semaphore, watch};

use crate::{Worker, WorkerOptions};

/// What may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Settings of the loops.
    pub options: WorkerOptions,
    /// How X is called.
    pub x: XClient,
}

/// Where new settings come from; by default from nowhere.
#[derive(Debug, Clone, Default)]
pub struct News(Option<watch::Receiver<Arc<Settings>>>);

impl News {
    /// What is sent from now on.
    pub fn of(receiver: watch::Receiver<Arc<Settings>>) -> Self {
        Self(Some(receiver))
    }

    /// The new ones, if there are any that were not taken up.
    fn take(&mut self) -> Option<Arc<Settings>> {
        let receiver = self.0.as_mut()?;
        // Whoever has sent them may be gone by now.
        matches!(receiver.has_changed(), Ok(true)).then(|| receiver.borrow_and_update().clone())
    }

    /// Returns when there are new ones.
    pub(crate) async fn come(&mut self) {
        let gone = match &mut self.0 {
            Some(receiver) => receiver.changed().await.is_err(),
            None => true,
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

impl Worker {
    /// Goes by the new settings from now on; true if there were any.
    pub(crate) fn take_up(&mut self) -> bool {
        let Some(settings) = self.news.take() else {
            return false;
        };
        self.options = settings.options.clone();
        self.x = settings.x.clone();
        true
    }
}

/// Places for work at once, whose number may change.
#[derive(Debug)]
pub(crate) struct Places {
    /// One permit a place; whoever works holds one.
    pub(crate) all: Arc<Semaphore>,
    count: usize,
}

impl Places {
    pub(crate) fn new(wanted: u16) -> Self {
        let count = usize::from(wanted);
        Self {
            all: Arc::new(Semaphore::new(count)),
            count,
        }
    }

    /// So many from now on. One that is taken goes once it is free: call it before each round.
    pub(crate) fn fit(&mut self, wanted: u16) {
        let wanted = usize::from(wanted);
        if wanted > self.count {
            self.all.add_permits(wanted - self.count);
            self.count = wanted;
        } else if wanted < self.count {
            self.count -= self.all.forget_permits(self.count - wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_taken_go_when_they_are_free() {
        let mut places = Places::new(3);
        let taken: Vec<_> = (0..2)
            .map(|_| Arc::clone(&places.all).try_acquire_owned().unwrap())
            .collect();
        places.fit(1);
        assert_eq!(places.all.available_permits(), 0);
        drop(taken);
        assert_eq!(places.all.available_permits(), 2);
        places.fit(1);
        assert_eq!(places.all.available_permits(), 1);
        places.fit(4);
        assert_eq!(places.all.available_permits(), 4);
    }
}
