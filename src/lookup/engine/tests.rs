//! The engine, in paused time, with an oracle that does as it is told.
