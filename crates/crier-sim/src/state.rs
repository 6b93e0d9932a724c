//! All that X knows, behind one lock.
//!
//! Invariant: a deed is one plain function over `&mut World`, done whole or not at all; nothing
//! waits for the network or the disk while it holds the lock.

pub(crate) mod accounts;
pub(crate) mod grants;
pub(crate) mod handshakes;
pub(crate) mod media;
pub(crate) mod posts;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::error::SimError;
use crate::faults::Faults;
use crate::limits::{Defaults, Limits};
use crate::options::SimOptions;
use crate::record::Records;
use crate::spool::Spool;

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: SimOptions,
    pub(crate) clock: SimClock,
    pub(crate) chance: Chance,
    pub(crate) accounts: accounts::Accounts,
    pub(crate) grants: grants::Grants,
    pub(crate) handshakes: handshakes::Handshakes,
    pub(crate) media: media::MediaStore,
    pub(crate) posts: posts::Posts,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    pub(crate) records: Records,
}

impl World {
    fn new(options: SimOptions) -> Result<Self, SimError> {
        options.check().map_err(SimError::Script)?;
        let mut world = Self {
            clock: SimClock::default(),
            chance: Chance::new(options.seed),
            accounts: accounts::Accounts::default(),
            grants: grants::Grants::default(),
            handshakes: handshakes::Handshakes::default(),
            media: media::MediaStore::default(),
            posts: posts::Posts::default(),
            limits: Limits::default(),
            faults: Faults::default(),
            records: Records::default(),
            options,
        };
        for account in world.options.accounts.clone() {
            crate::control::accounts::make(&mut world, &account).map_err(SimError::Script)?;
        }
        let now_us = world.clock.now_us();
        for fault in world.options.faults.clone() {
            world.faults.arm(fault, now_us);
        }
        Ok(world)
    }

    /// Limits that hold where nothing was set for an account.
    pub(crate) fn take_limit(
        &mut self,
        caller: crate::limits::Caller<'_>,
        now_us: i64,
    ) -> crate::limits::Taken {
        let defaults = Defaults {
            limits: &self.options.limits,
            app_limits: self.options.documented_app_limits,
        };
        self.limits.take(caller, &defaults, now_us)
    }
}

/// The simulator: shared by all its connections.
#[derive(Debug)]
pub(crate) struct Sim {
    world: Mutex<World>,
    spool_dir: PathBuf,
}

impl Sim {
    /// A new X with what the options ask for.
    pub(crate) fn new(options: SimOptions) -> Result<Arc<Self>, SimError> {
        let spool_dir = options.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        let world = World::new(options)?;
        let sim = Self {
            world: Mutex::new(world),
            spool_dir,
        };
        sim.new_spool().map_err(|source| SimError::Spool {
            folder: sim.spool_dir.display().to_string(),
            source,
        })?;
        Ok(Arc::new(sim))
    }

    /// The state, for a moment. A panic elsewhere leaves it usable: deeds check before they write.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything but the options and goes on listening.
    pub(crate) fn reset(&self) -> Result<(), SimError> {
        let mut world = self.world();
        let mut fresh = World::new(world.options.clone())?;
        fresh.records = Records::after(&world.records);
        *world = fresh;
        Ok(())
    }

    /// A new nameless file for upload bytes.
    pub(crate) fn new_spool(&self) -> std::io::Result<Arc<Spool>> {
        let name = format!(
            "crier-sim-{}-{}",
            std::process::id(),
            self.world().chance.word(16)
        );
        Spool::create(&self.spool_dir, &name)
    }
}
