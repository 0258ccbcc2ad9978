//! The table: what it takes, moment by moment, and an account of who took it.
//!
//! Each part (the table, an index, a limit that nothing tells) has a bucket
//! that is filled all the time at the part's capacity and saves next to
//! nothing: what is not fetched within the slack is lost. That is harder than
//! DynamoDB, which saves up to five minutes. An item passes when every part has
//! its units, and takes them of each. Time is an argument: seconds since the
//! first write.

/// One batch of small items, in units: what a bucket holds besides its slack.
const BATCH: f64 = 25.0;

/// How long the accepted and the offered rate are looked at, in seconds, to say
/// that they fit a capacity; longer where that would be less than ten batches.
const WINDOW: f64 = 0.5;

/// How well they must fit it: batches are 25 units at once, so that half a
/// second of 800 units a second is exact to 6 % only.
const FIT: f64 = 0.1;

/// Steps between two looks, in seconds.
const LOOK: f64 = 0.01;

/// What a table is and does.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Provisioned write units, each from a second on, the first from 0; none
    /// of an on-demand table.
    pub(crate) provisioned: Vec<(f64, f64)>,
    /// What raises them.
    pub(crate) scaling: Option<Scaling>,
    /// What an index that every item feeds is provisioned with.
    pub(crate) index: Option<f64>,
    /// What is taken in truth, though nothing says so.
    pub(crate) hidden: Option<f64>,
}

/// Auto scaling by target tracking. Two periods in a row in which the table was
/// in use to the target or more raise it to what would make the use of the
/// second just that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaling {
    /// Write units that it never goes above.
    pub(crate) max: f64,
    /// Share of the capacity in use that is aimed at.
    pub(crate) target: f64,
    /// Seconds. CloudWatch's is a minute.
    pub(crate) period: f64,
}

/// The parts, as indices of the levels.
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

/// The table at work.
#[derive(Debug)]
pub(crate) struct Table {
    shape: Shape,
    /// Seconds of its capacity that a bucket saves.
    slack: f64,
    seen: f64,
    capacity: [f64; 3],
    levels: [f64; 3],
    /// Of auto scaling: the period that runs, what was consumed in it, and how
    /// many before it in a row were above the target.
    period: (f64, f64),
    high: u32,
    /// What the narrowest part took, from a second on.
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
            seen: 0.0,
            capacity,
            // Nobody wrote before: they are full.
            levels: capacity.map(|units| BATCH + units * slack),
            // A quarter of a period off the first write: at a batch a second,
            // one that falls on a boundary would count here or there.
            period: (shape.scaling.map_or(0.0, |s| -s.period / 4.0), 0.0),
            high: 0,
            narrowest: Vec::new(),
            calls: Vec::new(),
            shape,
        };
        table.note();
        table
    }

    /// What DescribeTable says: the table's and the index's write units; of the
    /// table none when it is on demand.
    pub(crate) fn told(&mut self, now: f64) -> (Option<f64>, Option<f64>) {
        self.pass(now);
        let table = Some(self.capacity[0]).filter(|units| units.is_finite());
        (table, self.shape.index)
    }

    /// A call with items of so many units: which of them are taken, and which
    /// part was in the way of the others.
    pub(crate) fn take(&mut self, units: &[f64], now: f64) -> (Vec<bool>, Option<Part>) {
        self.pass(now);
        let mut in_the_way = None;
        let taken: Vec<bool> = units
            .iter()
            .map(|units| {
                let short = PARTS.into_iter().zip(self.levels);
                // A sum of many small parts is a little off.
                let short = short.filter(|(_, level)| level + 1e-6 < *units);
                let short = short.min_by(|a, b| a.1.total_cmp(&b.1));
                if let Some((part, _)) = short {
                    in_the_way = Some(part);
                    return false;
                }
                self.levels.iter_mut().for_each(|level| *level -= units);
                true
            })
            .collect();
        let sum = |wanted: &dyn Fn(&bool) -> bool| -> f64 {
            let pairs = units.iter().zip(&taken);
            pairs.filter(|(_, t)| wanted(t)).map(|(u, _)| *u).sum()
        };
        let (offered, accepted) = (sum(&|_| true), sum(&|taken| *taken));
        self.period.1 += accepted;
        self.calls.push(Call {
            at: now,
            offered,
            accepted,
        });
        (taken, in_the_way)
    }

    /// Lets time pass until `now`, stopping wherever a capacity changes.
    pub(crate) fn pass(&mut self, now: f64) {
        while self.seen < now {
            let step = self.shape.provisioned.iter().map(|(from, _)| *from);
            let step = step.filter(|from| *from > self.seen);
            let period = self.shape.scaling.map(|s| self.period.0 + s.period);
            let next = step.chain(period).fold(now, f64::min);
            let elapsed = next - self.seen;
            for (level, capacity) in self.levels.iter_mut().zip(self.capacity) {
                let brim = BATCH + capacity * self.slack;
                *level = (*level + capacity * elapsed).min(brim);
            }
            self.seen = next;
            self.change();
        }
    }

    /// Changes the table's capacity if it is time to.
    fn change(&mut self) {
        let now = self.seen;
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
            self.note();
        }
    }

    fn note(&mut self) {
        let least = self.capacity.into_iter().fold(f64::INFINITY, f64::min);
        if self.narrowest.last().is_none_or(|(_, last)| *last != least) {
            self.narrowest.push((self.seen, least));
        }
    }

    /// The changes of what the narrowest part takes: from which second on, and
    /// write units; the first is the beginning.
    pub(crate) fn changes(&self) -> &[(f64, f64)] {
        &self.narrowest
    }

    /// Units that the narrowest part could have taken between two seconds.
    pub(crate) fn available(&self, from: f64, to: f64) -> f64 {
        let ends = self.narrowest.iter().skip(1).map(|(end, _)| *end);
        let spans = self.narrowest.iter().zip(ends.chain([f64::INFINITY]));
        let units =
            spans.map(|((begin, units), end)| units * (end.min(to) - begin.max(from)).max(0.0));
        units.sum()
    }

    /// Units accepted and units offered between two seconds.
    pub(crate) fn taken(&self, from: f64, to: f64) -> (f64, f64) {
        let begin = self.calls.partition_point(|call| call.at < from);
        let calls = self.calls[begin..].iter().take_while(|call| call.at < to);
        calls.fold((0.0, 0.0), |(accepted, offered), call| {
            (accepted + call.accepted, offered + call.offered)
        })
    }

    /// Whether more was taken than what the narrowest bucket held at the
    /// beginning and what came in: that cannot be.
    pub(crate) fn gave_too_much(&self, to: f64) -> bool {
        let held = BATCH + self.narrowest[0].1 * self.slack;
        self.taken(0.0, to).0 > held + self.available(0.0, to) + 1e-3
    }

    /// How long after the change of this number it was until the offered rate
    /// and the accepted one both fitted what the narrowest part takes; nothing
    /// when that was not before the next change, or before `end`.
    pub(crate) fn followed(&self, change: usize, end: f64) -> Option<f64> {
        let (from, units) = self.narrowest[change];
        let until = self
            .narrowest
            .get(change + 1)
            .map_or(end, |next| next.0.min(end));
        let window = WINDOW.max(10.0 * BATCH / units);
        let fits = |rate: f64| (rate / window / units - 1.0).abs() <= FIT;
        let looks = (0..).map(|look| f64::from(look) * LOOK);
        let mut looks = looks.take_while(|after| from + after + window <= until);
        looks.find(|after| {
            let (accepted, offered) = self.taken(from + after, from + after + window);
            fits(accepted) && fits(offered)
        })
    }
}
