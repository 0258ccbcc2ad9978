//! The writer in paused time, against a table that accepts nothing for a while.

use super::write;
use crate::pipeline::outage::{OutageTable, RateMode, outages};
use std::time::Duration;

async fn play(mode: RateMode, fault: u32) {
    let (table, rate_limiter) = (OutageTable::new(fault), mode.rate_limiter());
    let describe = || async { Ok(mode.capacity()) };
    let follow = rate_limiter.follow_table(Duration::from_secs(10), describe);
    write(&table, &rate_limiter, follow, table.run_duration()).await;
    table.measurements().check("ingest", mode);
}

outages!(play);
