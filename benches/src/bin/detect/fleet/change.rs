//! What changes for many agents at once, for good.

use super::network::Provider;
use super::{Key, Organisation};
use crate::random::Random;

impl Organisation {
    pub(super) fn happen(&mut self, random: &mut Random) {
        let days = self.calendar.days;
        for project in 0..self.projects.len() {
            if random.chance(0.08) {
                self.move_region(random, project);
            }
            if random.chance(0.3) {
                // A key is replaced by one of another name, on one day for all.
                let (old, day) = (*random.pick(&self.projects[project].keys), random.day(5..days));
                let new = self.keys.len();
                let key = &self.keys[old];
                self.keys.push(Key { name: format!("{}-v2", key.name), env: key.env });
                self.agents.iter_mut().for_each(|agent| agent.renames(old, new, day));
            }
        }
        for number in 0..self.agents.len() {
            let agent = &self.agents[number];
            if !agent.places.is_empty() && random.chance(0.04) {
                let place = (random.day(5..days), self.workplace(random, agent.project));
                self.agents[number].places.push(place);
            }
        }
    }

    /// A project moves to another region for good, agent by agent in a day or two.
    fn move_region(&mut self, random: &mut Random, project: usize) {
        let day = random.day(5..self.calendar.days);
        self.clouds.push(if random.chance(0.3) { Provider::private(random) } else { Provider::cloud(random) });
        self.projects[project].cloud = self.clouds.len() - 1;
        for number in 0..self.agents.len() {
            let agent = &self.agents[number];
            if agent.project == project && !agent.places.is_empty() {
                let place = (day + random.day(0..2), self.workplace(random, project));
                self.agents[number].places.push(place);
            }
        }
    }
}
