//! The writer in paused time against a table that accepts nothing for a while.

use super::write;
use crate::pipeline::outage::{Mode, Table, outages};
use std::time::Duration;

async fn play(mode: Mode, fault: u32) {
    let (table, pace) = (Table::new(fault), mode.pace());
    let describe = || async { Ok(mode.capacity()) };
    let follow = pace.follow(Duration::from_secs(10), describe);
    write(&table, &pace, follow, table.lasts()).await;
    table.figures().check("ingest", mode);
}

outages!(play);
