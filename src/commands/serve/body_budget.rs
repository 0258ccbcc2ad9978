//! What bodies of requests may take of the memory: all of them together, and those of
//! one client no more than a quarter of that, so that it leaves room for the others.
//!
//! A body counts until its request is answered: what was made of it is there until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// KiB of all bodies together.
const ALL: usize = 64 * 1024;

/// KiB of those of one client.
const OF_ONE: usize = ALL / 4;

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By client; none that has nothing.
    of: HashMap<Arc<str>, usize>,
}

impl Bodies {
    /// For a body of `client`, with nothing of it yet.
    pub(super) fn begin(&self, client: Arc<str>) -> Held {
        Held {
            bodies: self.clone(),
            client,
            kib: 0,
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one body takes. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Bodies,
    client: Arc<str>,
    kib: usize,
}

impl Held {
    /// Takes as much more as a body of `bytes` needs; whether there is room.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.div_ceil(1024).saturating_sub(self.kib);
        if more == 0 {
            return true;
        }
        let mut taken = self.bodies.taken();
        let own = taken.of.get(&self.client).copied().unwrap_or(0);
        if taken.all + more > ALL || own + more > OF_ONE {
            return false;
        }
        taken.all += more;
        taken.of.insert(self.client.clone(), own + more);
        self.kib += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.kib == 0 {
            return;
        }
        let mut taken = self.bodies.taken();
        taken.all -= self.kib;
        if let Some(own) = taken.of.get_mut(&self.client) {
            *own -= self.kib;
            if *own == 0 {
                taken.of.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn one_client_has_a_quarter_and_all_together_have_all() {
        let bodies = Bodies::default();
        let full = |client: &str| {
            let mut held = Vec::new();
            loop {
                let mut one = bodies.begin(client.into());
                if !one.grow(MIB) {
                    return held;
                }
                held.push(one);
            }
        };
        let mut alice = full("alice");
        assert_eq!(alice.len(), 16);
        let others = ["bob", "carol", "dave"].map(full);
        assert!(others.iter().all(|o| o.len() == 16));
        assert!(full("erin").is_empty(), "nothing is left");
        alice.pop();
        assert_eq!(full("erin").len(), 1);
        assert_eq!(full("alice").len(), 1);
        assert!(full("bob").is_empty());
        drop((alice, others));
        let taken = bodies.taken();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }
}
