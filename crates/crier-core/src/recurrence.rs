//! Recurring posts: a cron expression read on the wall clock of a time zone, as moments in UTC.
//!
//! **Invariant:** slots strictly increase, and each wall clock time that the expression names has exactly one: a time
//! that the clock skips falls on the first moment after the gap, one that it shows twice on the earlier.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::GapInfo;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

pub use chrono_tz::Tz;

/// Names of the fields of an expression with seconds, in order.
const FIELDS: [&str; 6] = [
    "second",
    "minute",
    "hour",
    "day of month",
    "month",
    "day of week",
];

/// Why a recurrence cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecurrenceError {
    /// Neither five nor six fields.
    #[error(
        "the cron expression `{cron}` has {found} fields, but needs 5 (minute, hour, day of month, month, day of week) \
         or 6 (second first), such as `0 9 * * MON-FRI` for nine o'clock on working days"
    )]
    Fields {
        /// The expression.
        cron: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field that cannot be read.
    #[error("`{value}` is no {field} in the cron expression `{cron}`: {reason}")]
    Field {
        /// The expression.
        cron: String,
        /// What the field stands for.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Fields that can be read one by one, but not together.
    #[error("the cron expression `{cron}` cannot be read: {reason}")]
    Expression {
        /// The expression.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An expression that names a day that never comes.
    #[error("the cron expression `{cron}` never comes true: no such day is in the calendar")]
    Never {
        /// The expression.
        cron: String,
    },
    /// No such time zone.
    #[error(
        "`{zone}` is no time zone of the IANA database{}; write one such as `Europe/Berlin` or `UTC`",
        near.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
    )]
    Zone {
        /// What was given.
        zone: String,
        /// A zone whose name is nearly that.
        near: Option<&'static str>,
    },
}

/// When a recurring post is due.
#[derive(Debug, Clone)]
pub struct Recurrence {
    cron: Cron,
    zone: Tz,
}

impl Recurrence {
    /// Reads a cron expression of 5 fields, or 6 with the second first, or a word such as `@daily`, to be evaluated on
    /// the wall clock of an IANA time zone. Where both day of month and day of week are given, either is enough.
    ///
    /// # Errors
    ///
    /// [`RecurrenceError`], which names the field at fault.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, RecurrenceError> {
        let zone = parse_zone(zone)?;
        let text = cron.trim();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let is_word = fields.len() == 1 && text.starts_with('@');
        if !is_word && !matches!(fields.len(), 5 | 6) {
            return Err(RecurrenceError::Fields {
                cron: text.to_owned(),
                found: fields.len(),
            });
        }
        let parsed = read(text).map_err(|error| explain(text, &fields, &error))?;
        // The calendar of weekdays and leap years repeats after 400 years; any start finds what there is.
        let start = DateTime::UNIX_EPOCH;
        if parsed.find_next_occurrence(&start, true).is_err() {
            return Err(RecurrenceError::Never {
                cron: text.to_owned(),
            });
        }
        Ok(Self { cron: parsed, zone })
    }

    /// The zone whose wall clock counts.
    pub const fn zone(&self) -> Tz {
        self.zone
    }

    /// The first slot after that moment; `None` if none is left before the end of the calendar.
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.iter(moment).next()
    }

    /// The slots after `from_exclusive`, up to and with `to_inclusive`, the first `max` of them.
    pub fn slots(
        &self,
        from_exclusive: DateTime<Utc>,
        to_inclusive: DateTime<Utc>,
        max: usize,
    ) -> Vec<DateTime<Utc>> {
        self.iter(from_exclusive)
            .take_while(|slot| *slot <= to_inclusive)
            .take(max)
            .collect()
    }

    /// The slots after a moment.
    fn iter(&self, moment: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let mut cursor = wall_clock(self.zone, moment);
        let mut last = moment;
        std::iter::from_fn(move || {
            loop {
                let wall = self.next_wall(cursor?)?;
                cursor = Some(wall);
                // All times that one gap skips are one slot; and in the second pass of an hour that the clock shows
                // twice, its slots are over.
                if let Some(slot) = instant(self.zone, wall).filter(|slot| *slot > last) {
                    last = slot;
                    return Some(slot);
                }
            }
        })
    }

    /// The next wall clock time that the expression names. The zone stays out of it: the library would judge gaps and
    /// overlaps by the form of the expression.
    fn next_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let whole_second = after.with_nanosecond(0)?;
        self.cron
            .find_next_occurrence(&whole_second.and_utc(), false)
            .ok()
            .map(|found| found.naive_utc())
    }
}

/// Reads the name of a time zone.
///
/// # Errors
///
/// [`RecurrenceError::Zone`], with the right spelling if only upper and lower case, spaces or hyphens differ.
pub fn parse_zone(zone: &str) -> Result<Tz, RecurrenceError> {
    let name = zone.trim();
    name.parse().map_err(|_| {
        let loose = |text: &str| text.to_lowercase().replace([' ', '-'], "_");
        let near = chrono_tz::TZ_VARIANTS
            .iter()
            .map(|known| known.name())
            .find(|known| loose(known) == loose(name));
        RecurrenceError::Zone {
            zone: name.to_owned(),
            near,
        }
    })
}

/// What the clock on the wall shows; `None` at the very ends of the calendar.
fn wall_clock(zone: Tz, moment: DateTime<Utc>) -> Option<NaiveDateTime> {
    let utc = moment.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// When the clock on the wall first shows that time, or has passed it.
fn instant(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&wall).earliest() {
        Some(shown) => Some(shown.to_utc()),
        None => GapInfo::new(&wall, &zone)?.end.map(|end| end.to_utc()),
    }
}

/// Reads an expression as croner understands it.
fn read(text: &str) -> Result<Cron, CronError> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build()
        .parse(text)
}

/// Finds the field at fault by reading each alone.
fn explain(text: &str, fields: &[&str], error: &CronError) -> RecurrenceError {
    let names = FIELDS
        .iter()
        .skip(FIELDS.len().saturating_sub(fields.len()));
    for (field, value) in names.zip(fields) {
        let alone: Vec<&str> = FIELDS
            .iter()
            .map(|name| if name == field { value } else { "*" })
            .collect();
        if let Err(error) = read(&alone.join(" ")) {
            return RecurrenceError::Field {
                cron: text.to_owned(),
                field,
                value: (*value).to_owned(),
                reason: reason(&error),
            };
        }
    }
    RecurrenceError::Expression {
        cron: text.to_owned(),
        reason: reason(error),
    }
}

/// What croner says, in the form of our own messages.
fn reason(error: &CronError) -> String {
    let said = match error {
        CronError::InvalidPattern(said)
        | CronError::IllegalCharacters(said)
        | CronError::ComponentError(said) => said.clone(),
        CronError::EmptyPattern
        | CronError::InvalidDate
        | CronError::InvalidTime
        | CronError::TimeSearchLimitExceeded => error.to_string(),
    };
    let mut letters = said.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// What to do with slots that passed while nobody was there to post them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedPolicy {
    /// Nothing: they are over.
    Skip,
    /// The latest of them is still posted.
    Once,
    /// All are still posted, the latest `bound` of them.
    All,
}

/// What is still done of the slots that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp<'a> {
    /// To be posted now, in order.
    pub run: &'a [DateTime<Utc>],
    /// Never to be posted.
    pub skipped: &'a [DateTime<Utc>],
}

/// Divides missed slots (in order, as [`Recurrence::slots`] gives them) into those still to be posted and those that
/// are over. Where not all fit, the latest stay: the oldest are the stalest.
pub fn missed(slots: &[DateTime<Utc>], policy: MissedPolicy, bound: usize) -> CatchUp<'_> {
    let kept = match policy {
        MissedPolicy::Skip => 0,
        MissedPolicy::Once => 1,
        MissedPolicy::All => bound,
    };
    let (skipped, run) = slots.split_at(slots.len().saturating_sub(kept));
    CatchUp { run, skipped }
}

#[cfg(test)]
mod tests;
