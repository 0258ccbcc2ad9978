//! Model of a table: its capacity over time, and a log of the calls.
//!
//! Each part (the table, an index, an undescribed limit) has a token bucket that
//! fills at the part's capacity and holds only the slack: unused capacity is
//! lost. That is stricter than DynamoDB, which keeps up to five minutes of burst
//! capacity. An item is accepted if every part has its units, and consumes them
//! in each. Time is an argument: seconds since the first write.

/// One batch of small items, in WCU: the size of a bucket without its slack.
const BATCH: f64 = 25.0;

/// Minimum window over which the accepted and the offered rate are compared with
/// a capacity, in seconds. The window is at narrowest ten batches long.
const WINDOW: f64 = 0.5;

/// Maximum relative deviation of these rates. Batches are 25 WCU at once, so half
/// a second at 800 WCU/s is exact only to 6 %.
const TOLERANCE: f64 = 0.1;

/// Step between two windows, in seconds.
const STEP: f64 = 0.01;

/// Capacity of a table over time.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Start second and provisioned WCU of each step, the first at 0; empty for
    /// an on-demand table.
    pub(crate) provisioned: Vec<(f64, f64)>,
    /// Auto scaling; `None` if the table has none.
    pub(crate) scaling: Option<Scaling>,
    /// Provisioned WCU of an index that has every item; `None` if there is no index.
    pub(crate) index: Option<f64>,
    /// Undescribed limit in WCU/s, such as a hot partition; `None` if there is none.
    pub(crate) hidden: Option<f64>,
}

/// Auto scaling by target tracking. Two periods in a row with a use at or above
/// the target raise the capacity. The new capacity makes the use of the second
/// period equal to the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaling {
    /// Maximum capacity, in WCU.
    pub(crate) max: f64,
    /// Target use, as a share of the capacity.
    pub(crate) target: f64,
    /// Length of a period, in seconds. CloudWatch's is a minute.
    pub(crate) period: f64,
}

/// Parts of a table, in the order of the levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Table,
    Index,
    Hidden,
}

const PARTS: [Part; 3] = [Part::Table, Part::Index, Part::Hidden];

/// One BatchWriteItem.
#[derive(Clone, Copy, Debug)]
struct Call {
    at: f64,
    offered: f64,
    accepted: f64,
}

/// A table in use.
#[derive(Debug)]
pub(crate) struct Table {
    shape: Shape,
    /// Seconds of capacity that a bucket holds.
    slack: f64,
    now: f64,
    capacity: [f64; 3],
    levels: [f64; 3],
    /// Start of the current auto scaling period, and the WCU consumed in it.
    period: (f64, f64),
    /// Periods in a row at or above the target.
    high: u32,
    /// Start second and capacity of the narrowest part.
    narrowest: Vec<(f64, f64)>,
    calls: Vec<Call>,
}

impl Table {
    pub(crate) fn new(shape: Shape, slack: f64) -> Self {
        let or_none = |units: Option<f64>| units.unwrap_or(f64::INFINITY);
        let capacity = [
            or_none(shape.provisioned.first().map(|(_, units)| *units)),
            or_none(shape.index),
            or_none(shape.hidden),
        ];
        let mut table = Self {
            slack,
            now: 0.0,
            capacity,
            // Unused so far, so the buckets are full.
            levels: capacity.map(|units| BATCH + units * slack),
            // Starts a quarter of a period before the first write. At one batch a
            // second no batch then falls on a boundary, where its period is open.
            period: (shape.scaling.map_or(0.0, |s| -s.period / 4.0), 0.0),
            high: 0,
            narrowest: Vec::new(),
            calls: Vec::new(),
            shape,
        };
        table.record_narrowest();
        table
    }

    /// WCU of the table and of the index as in DescribeTable; the table's is `None`
    /// if it is on-demand.
    pub(crate) fn described(&mut self, now: f64) -> (Option<f64>, Option<f64>) {
        self.advance(now);
        let table = Some(self.capacity[0]).filter(|units| units.is_finite());
        (table, self.shape.index)
    }

    /// Writes items of these sizes in WCU. Returns which items are accepted, and
    /// the part that throttled the others.
    pub(crate) fn write(&mut self, units: &[f64], now: f64) -> (Vec<bool>, Option<Part>) {
        self.advance(now);
        let mut bottleneck = None;
        let is_accepted: Vec<bool> = units
            .iter()
            .map(|units| {
                let short = PARTS.into_iter().zip(self.levels);
                // Allows for the rounding errors of many additions.
                let short = short.filter(|(_, level)| level + 1e-6 < *units);
                let short = short.min_by(|a, b| a.1.total_cmp(&b.1));
                if let Some((part, _)) = short {
                    bottleneck = Some(part);
                    return false;
                }
                self.levels.iter_mut().for_each(|level| *level -= units);
                true
            })
            .collect();
        let sum = |wanted: &dyn Fn(&bool) -> bool| -> f64 {
            let pairs = units.iter().zip(&is_accepted);
            pairs.filter(|(_, t)| wanted(t)).map(|(u, _)| *u).sum()
        };
        let (offered, accepted) = (sum(&|_| true), sum(&|is_accepted| *is_accepted));
        self.period.1 += accepted;
        self.calls.push(Call {
            at: now,
            offered,
            accepted,
        });
        (is_accepted, bottleneck)
    }

    /// Advances the time to `now`, with a stop at each change of a capacity.
    pub(crate) fn advance(&mut self, now: f64) {
        while self.now < now {
            let step = self.shape.provisioned.iter().map(|(from, _)| *from);
            let step = step.filter(|from| *from > self.now);
            let period = self.shape.scaling.map(|s| self.period.0 + s.period);
            let next = step.chain(period).fold(now, f64::min);
            let elapsed = next - self.now;
            for (level, capacity) in self.levels.iter_mut().zip(self.capacity) {
                let size = BATCH + capacity * self.slack;
                *level = (*level + capacity * elapsed).min(size);
            }
            self.now = next;
            self.apply_changes();
        }
    }

    /// Changes the table's capacity if a change is due.
    fn apply_changes(&mut self) {
        let now = self.now;
        let mut units = self.capacity[0];
        if let Some((_, step)) = self.shape.provisioned.iter().find(|(from, _)| *from == now) {
            units = *step;
        }
        if let Some(scaling) = self.shape.scaling
            && now == self.period.0 + scaling.period
        {
            let used = self.period.1 / scaling.period;
            self.period = (now, 0.0);
            self.high = match used >= units * scaling.target {
                true => self.high + 1,
                false => 0,
            };
            if self.high >= 2 {
                self.high = 0;
                units = (used / scaling.target).ceil().clamp(units, scaling.max);
            }
        }
        if units != self.capacity[0] {
            self.capacity[0] = units;
            self.levels[0] = self.levels[0].min(BATCH + units * self.slack);
            self.record_narrowest();
        }
    }

    fn record_narrowest(&mut self) {
        let narrowest = self.capacity.into_iter().fold(f64::INFINITY, f64::min);
        if self
            .narrowest
            .last()
            .is_none_or(|(_, last)| *last != narrowest)
        {
            self.narrowest.push((self.now, narrowest));
        }
    }

    /// Changes of the narrowest part's capacity: second and WCU. The first entry is
    /// the initial capacity.
    pub(crate) fn changes(&self) -> &[(f64, f64)] {
        &self.narrowest
    }

    /// WCU that the narrowest part had available between two seconds.
    pub(crate) fn available(&self, from: f64, to: f64) -> f64 {
        let ends = self.narrowest.iter().skip(1).map(|(end, _)| *end);
        let spans = self.narrowest.iter().zip(ends.chain([f64::INFINITY]));
        let units =
            spans.map(|((begin, units), end)| units * (end.min(to) - begin.max(from)).max(0.0));
        units.sum()
    }

    /// WCU accepted and WCU offered between two seconds.
    pub(crate) fn written(&self, from: f64, to: f64) -> (f64, f64) {
        let begin = self.calls.partition_point(|call| call.at < from);
        let calls = self.calls[begin..].iter().take_while(|call| call.at < to);
        calls.fold((0.0, 0.0), |(accepted, offered), call| {
            (accepted + call.accepted, offered + call.offered)
        })
    }

    /// True if the table accepted more than the narrowest bucket's initial content
    /// and its capacity since, which would be an error of the model.
    pub(crate) fn exceeded_capacity(&self, to: f64) -> bool {
        let held = BATCH + self.narrowest[0].1 * self.slack;
        self.written(0.0, to).0 > held + self.available(0.0, to) + 1e-3
    }

    /// Seconds from a change until the offered and the accepted rate both fit the
    /// narrowest part's capacity. `None` if they do not before the next change or
    /// before `end`.
    pub(crate) fn seconds_to_follow(&self, change: usize, end: f64) -> Option<f64> {
        let (from, units) = self.narrowest[change];
        let until = self
            .narrowest
            .get(change + 1)
            .map_or(end, |next| next.0.min(end));
        let window = WINDOW.max(10.0 * BATCH / units);
        let fits = |rate: f64| (rate / window / units - 1.0).abs() <= TOLERANCE;
        let starts = (0..).map(|step| f64::from(step) * STEP);
        let mut starts = starts.take_while(|after| from + after + window <= until);
        starts.find(|after| {
            let (accepted, offered) = self.written(from + after, from + after + window);
            fits(accepted) && fits(offered)
        })
    }
}
