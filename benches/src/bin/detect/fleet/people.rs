//! The humans: when they work, from where, and who is on call.

use super::calendar::{Calendar, Zone};
use super::network::{Network, Provider, home_with_privacy};
use crate::random::Random;
use std::ops::Range;

pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) zone: usize,
    /// Local hours of a working day.
    pub(crate) hours: Range<f64>,
    /// How likely some work in the evening or at a weekend is.
    pub(crate) diligence: f64,
    /// Uses of keys by hand on a working day, and events of one.
    pub(crate) sessions: f64,
    pub(crate) on_call: Vec<bool>,
    away: Range<u32>,
    places: Vec<Place>,
}

/// Where a person's requests come from on one day.
struct Place {
    work: String,
    home: String,
    phone: Option<String>,
    journey: bool,
}

/// What the people of one organisation share.
pub(crate) struct Sites {
    offices: Vec<Network>,
    isps: Vec<Provider>,
    carriers: Vec<Provider>,
    vpn: Option<Network>,
}

impl Sites {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut office = || {
            let count = random.count(1..=4);
            Provider::consumer(random).egress(random, count)
        };
        let offices = (0..3).map(|_| office()).collect();
        Self {
            offices,
            isps: (0..4).map(|_| Provider::consumer(random)).collect(),
            carriers: (0..2).map(|_| Provider::consumer(random)).collect(),
            vpn: random.chance(0.3).then(|| Provider::hosting(random).egress(random, 2)),
        }
    }

    pub(crate) fn isp(&self, random: &mut Random) -> &Provider {
        random.pick(&self.isps)
    }
}

impl Person {
    pub(crate) fn draw(random: &mut Random, id: String, zone: usize, calendar: &Calendar, sites: &Sites) -> Self {
        let begin = random.within(7.0..10.5);
        let away = match random.chance(0.35) {
            true => {
                let first = random.day(3..calendar.days);
                first..first + random.day(4..15)
            }
            false => 0..0,
        };
        Self {
            id,
            zone,
            hours: begin..begin + random.within(7.5..9.5),
            diligence: *random.pick(&[0.01, 0.03, 0.08, 0.2]),
            sessions: random.lognormal(0.7, 0.6),
            on_call: vec![false; calendar.days as usize],
            away,
            places: places(random, zone, calendar, sites),
        }
    }

    pub(crate) fn is_away(&self, day: u32) -> bool {
        self.away.contains(&day)
    }

    /// When this person may sit down on this day, in local hours: nothing, working hours, or an evening.
    pub(crate) fn sitting(&self, random: &mut Random, calendar: &Calendar, day: u32) -> Vec<Range<f64>> {
        let mut sittings = Vec::new();
        if self.is_away(day) {
            return sittings;
        }
        if calendar.is_working_day(day) {
            if random.chance(0.97) {
                let late = random.normal() * 0.4;
                sittings.push(self.hours.start + late..self.hours.end + late);
            }
            if random.chance(self.diligence) {
                let evening = random.within(19.0..22.0);
                sittings.push(evening..evening + random.within(0.5..2.0));
            }
        } else if random.chance(self.diligence) {
            let hour = random.within(9.0..20.0);
            sittings.push(hour..hour + random.within(0.5..3.0));
        }
        sittings
    }

    pub(crate) fn address(&self, random: &mut Random, day: u32, hour: f64) -> String {
        let place = &self.places[(day as usize).min(self.places.len() - 1)];
        match &place.phone {
            Some(phone) if random.chance(0.25) => phone.clone(),
            _ if (self.hours.start - 1.0..self.hours.end + 1.0).contains(&hour) => place.work.clone(),
            _ => place.home.clone(),
        }
    }

    pub(crate) fn is_on_a_journey(&self, day: u32) -> bool {
        self.places[day as usize].journey
    }

    pub(crate) fn when(&self, zones: &[Zone], calendar: &Calendar, day: u32, hour: f64) -> f64 {
        zones[self.zone].at(calendar, day, hour)
    }
}

/// Who is on call, by weeks.
pub(crate) fn rota(random: &mut Random, people: &mut [Person], calendar: &Calendar) {
    let size = random.count(2..=4).min(people.len());
    let mut team: Vec<usize> = (0..people.len()).collect();
    random.shuffle(&mut team);
    for day in 0..calendar.days {
        let turn = team[(day as usize / 7) % size];
        people[turn].on_call[day as usize] = true;
    }
}

fn places(random: &mut Random, zone: usize, calendar: &Calendar, sites: &Sites) -> Vec<Place> {
    let office = &sites.offices[zone % sites.offices.len()];
    let (isp, carrier) = (random.pick(&sites.isps), random.pick(&sites.carriers));
    let at_office = *random.pick(&[0.0, 0.4, 0.7, 0.95]);
    let lease = random.within(2.0..25.0);
    let privacy = random.chance(0.2).then(|| home_with_privacy(random));
    let has_phone = random.chance(0.4);
    let mut leased = isp.address(random);
    let mut journey: Option<(u32, Network)> = None;
    let mut places = Vec::new();
    for day in 0..calendar.days {
        if random.chance(1.0 / lease) {
            leased = isp.address(random);
        }
        let home = privacy.as_ref().map_or_else(|| leased.clone(), |network| network.address(random));
        journey = journey.filter(|(until, _)| day < *until);
        if journey.is_none() && random.chance(0.012) {
            let hotel = Provider::consumer(random).egress(random, 3);
            journey = Some((day + random.day(2..6), hotel));
        }
        let (work, home) = match (&journey, &sites.vpn) {
            (Some((_, hotel)), None) => (hotel.address(random), hotel.address(random)),
            (_, Some(vpn)) if random.chance(0.8) => (vpn.address(random), home),
            _ if random.chance(at_office) => (office.address(random), home),
            _ => (home.clone(), home),
        };
        let phone = (has_phone && random.chance(0.3)).then(|| carrier.address(random));
        places.push(Place { work, home, phone, journey: journey.is_some() });
    }
    places
}
