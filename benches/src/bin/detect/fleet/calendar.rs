//! Days, working days and wall clocks with daylight saving.

use crate::random::Random;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::{Offset, TimeZone};

pub(crate) const DAY: f64 = 86_400.0;
pub(crate) const HOUR: f64 = 3_600.0;

pub(crate) struct Calendar {
    /// Unix seconds, at midnight UTC.
    pub(crate) start: i64,
    pub(crate) days: u32,
    holidays: Vec<u32>,
}

impl Calendar {
    pub(crate) fn draw(random: &mut Random, days: u32) -> Self {
        // Half of the organisations live through a change of clocks.
        let changes = [
            date(2025, 3, 9),
            date(2025, 3, 30),
            date(2025, 10, 26),
            date(2025, 11, 2),
            date(2026, 3, 8),
            date(2026, 3, 29),
        ];
        let start = match random.chance(0.5) {
            true => midnight(*random.pick(&changes)) - 86_400 * random.count(9..=28) as i64,
            false => midnight(date(2025, 1, 1)) + 86_400 * random.count(0..=600) as i64,
        };
        let holidays = (0..random.count(0..=3)).map(|_| random.day(0..days)).collect();
        Self { start, days, holidays }
    }

    /// The Unix second at which a day begins in UTC.
    pub(crate) fn begin(&self, day: u32) -> f64 {
        self.start as f64 + f64::from(day) * DAY
    }

    pub(crate) fn end(&self) -> f64 {
        self.begin(self.days)
    }

    pub(crate) fn day(&self, ts: f64) -> u32 {
        ((ts - self.start as f64) / DAY).max(0.0) as u32
    }

    /// 0 is Monday.
    pub(crate) fn weekday(&self, day: u32) -> u32 {
        let since_epoch = self.start / 86_400 + i64::from(day);
        // Day 0 of Unix was a Thursday.
        ((since_epoch + 3) % 7) as u32
    }

    pub(crate) fn is_working_day(&self, day: u32) -> bool {
        self.weekday(day) < 5 && !self.holidays.contains(&day)
    }

    /// The last day of a month or one of the next two.
    pub(crate) fn is_month_end(&self, day: u32) -> bool {
        let date = Offset::UTC.to_datetime(Timestamp::from_second(self.begin(day) as i64).unwrap()).date();
        date.day() <= 2 || date == date.last_of_month()
    }
}

/// What the clocks on the walls of a place show.
pub(crate) struct Zone {
    /// Of each day, in seconds east of UTC.
    offsets: Vec<f64>,
}

impl Zone {
    pub(crate) fn draw(random: &mut Random, calendar: &Calendar) -> Self {
        let places = [
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "GMT0BST,M3.5.0/1,M10.5.0",
            "EST5EDT,M3.2.0,M11.1.0",
            "PST8PDT,M3.2.0,M11.1.0",
            "IST-5:30",
            "JST-9",
        ];
        let place = TimeZone::posix(places[random.weighted(&[3.0, 1.0, 3.0, 2.0, 1.0, 1.0])]).unwrap();
        let offset = |day| {
            let noon = Timestamp::from_second(calendar.begin(day) as i64 + 43_200).unwrap();
            f64::from(place.to_offset(noon).seconds())
        };
        Self { offsets: (0..calendar.days).map(offset).collect() }
    }

    /// When clocks here show this hour of this day; hours below 0 and above 24 are of the days beside it.
    pub(crate) fn at(&self, calendar: &Calendar, day: u32, hour: f64) -> f64 {
        calendar.begin(day) - self.offsets[day as usize] + hour * HOUR
    }
}

fn midnight(date: Date) -> i64 {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_weekday_it_was() {
        let calendar = Calendar { start: midnight(date(2025, 3, 7)), days: 30, holidays: vec![0] };
        assert_eq!(calendar.weekday(0), 4, "Friday");
        assert!(!calendar.is_working_day(0) && !calendar.is_working_day(1) && calendar.is_working_day(3));
        assert!(calendar.is_month_end(24) && calendar.is_month_end(25) && !calendar.is_month_end(23));
    }

    #[test]
    fn clocks_change() {
        let calendar = Calendar { start: midnight(date(2025, 3, 7)), days: 30, holidays: Vec::new() };
        let place = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let offset = |day| {
            f64::from(place.to_offset(Timestamp::from_second(calendar.begin(day) as i64 + 43_200).unwrap()).seconds())
        };
        let zone = Zone { offsets: (0..30).map(offset).collect() };
        assert_eq!((zone.at(&calendar, 1, 9.0) - calendar.begin(1)) / HOUR, 14.0);
        assert_eq!((zone.at(&calendar, 2, 9.0) - calendar.begin(2)) / HOUR, 13.0);
    }
}
