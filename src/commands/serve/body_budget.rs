//! Memory budget for request bodies: 64 MiB in total, at most a quarter for each client.
//!
//! A body counts until its request is answered, since its parsed form lives until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Budget of all bodies together, in KiB.
const TOTAL_KIB: usize = 64 * 1024;

/// Budget of the bodies of one client, in KiB.
const CLIENT_KIB: usize = TOTAL_KIB / 4;

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyBudget(Arc<Mutex<Reserved>>);

#[derive(Debug, Default)]
struct Reserved {
    total_kib: usize,
    /// KiB by client; clients without a reservation are absent.
    kib_per_client: HashMap<Arc<str>, usize>,
}

impl BodyBudget {
    /// Starts a reservation of 0 bytes for a body of `client`.
    pub(super) fn reserve(&self, client: Arc<str>) -> Reservation {
        Reservation {
            budget: self.clone(),
            client,
            kib: 0,
        }
    }

    fn reserved(&self) -> MutexGuard<'_, Reserved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reservation of one body; dropping it releases the memory.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: BodyBudget,
    client: Arc<str>,
    kib: usize,
}

impl Reservation {
    /// Grows the reservation to `bytes`. Returns false, and reserves nothing, if the budget is
    /// exhausted.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.div_ceil(1024).saturating_sub(self.kib);
        if more == 0 {
            return true;
        }
        let mut taken = self.budget.reserved();
        let own = taken.kib_per_client.get(&self.client).copied().unwrap_or(0);
        if taken.total_kib + more > TOTAL_KIB || own + more > CLIENT_KIB {
            return false;
        }
        taken.total_kib += more;
        taken.kib_per_client.insert(self.client.clone(), own + more);
        self.kib += more;
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.kib == 0 {
            return;
        }
        let mut taken = self.budget.reserved();
        taken.total_kib -= self.kib;
        if let Some(own) = taken.kib_per_client.get_mut(&self.client) {
            *own -= self.kib;
            if *own == 0 {
                taken.kib_per_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn one_client_gets_a_quarter_and_all_clients_get_the_whole_budget() {
        let bodies = BodyBudget::default();
        let full = |client: &str| {
            let mut held = Vec::new();
            loop {
                let mut one = bodies.reserve(client.into());
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
        assert!(full("erin").is_empty(), "the budget is exhausted");
        alice.pop();
        assert_eq!(full("erin").len(), 1);
        assert_eq!(full("alice").len(), 1);
        assert!(full("bob").is_empty());
        drop((alice, others));
        let taken = bodies.reserved();
        assert_eq!((taken.total_kib, taken.kib_per_client.len()), (0, 0));
    }
}
