//! Drawing an organisation from a seed.

use super::agent::{Agent, Role, Use};
use super::calendar::{Calendar, DAY, HOUR, Zone};
use super::network::{Network, Provider};
use super::people::{Person, Sites, rota};
use super::{Key, Logs, Organisation, Project, Sdk, Size};
use crate::random::Random;
use aegis_events::replay::event::Kind;

impl Organisation {
    pub(crate) fn draw(random: &mut Random, size: &Size) -> Self {
        let days = random.count(size.days.clone());
        let calendar = Calendar::draw(random, days as u32);
        let zones: Vec<_> = (0..random.count(1..=3)).map(|_| Zone::draw(random, &calendar)).collect();
        let sites = Sites::draw(random);
        let mut people: Vec<_> = (0..random.count(5..=15))
            .map(|number| {
                let zone = random.count(0..=zones.len() - 1);
                let id = format!("{}{number}@org", random.pick(&FIRST_NAMES));
                Person::draw(random, id, zone, &calendar, &sites)
            })
            .collect();
        rota(random, &mut people, &calendar);
        let internal = random.chance(0.35);
        let cloud = |random: &mut Random| if internal { Provider::private(random) } else { Provider::cloud(random) };
        let clouds: Vec<_> = (0..random.count(1..=3)).map(|_| cloud(random)).collect();
        let outages = (0..random.count(0..=2))
            .map(|_| {
                let from = calendar.begin(0) + random.unit() * f64::from(calendar.days) * DAY;
                (from, from + random.within(0.1..2.5) * HOUR)
            })
            .collect();
        let mut organisation = Self {
            sdks: sdks(random, calendar.days),
            keys: Vec::new(),
            projects: Vec::new(),
            agents: Vec::new(),
            logs: Logs { context: random.chance(0.85), age: random.chance(0.8) },
            flaky: random.within(0.0005..0.004),
            calendar,
            zones,
            sites,
            clouds,
            people,
            outages,
        };
        for number in 0..random.count(4..=9) {
            organisation.add_project(random, number);
        }
        let agents = random.count(size.agents.clone());
        organisation.add_agents(random, agents);
        organisation.happen(random);
        organisation
    }

    fn add_project(&mut self, random: &mut Random, number: usize) {
        let name = format!("{}{number}", random.pick(&SUBJECTS));
        let mut keys = Vec::new();
        for purpose in random.sample(&PURPOSES, 2..=5) {
            for serial in 1..=random.count(1..=5) {
                let env = ["prod", "staging", "dev"][random.weighted(&[0.6, 0.2, 0.2])];
                keys.push(self.keys.len());
                self.keys.push(Key { name: format!("{name}-{purpose}-{serial}"), env });
            }
        }
        let everybody: Vec<_> = (0..self.people.len()).collect();
        let team = random.sample(&everybody, 1..=4);
        let releases = (0..self.calendar.days).filter(|_| random.chance(0.07)).collect();
        let cloud = random.count(0..=self.clouds.len() - 1);
        self.projects.push(Project { name, keys, cloud, team, releases });
    }

    /// Templates with one to six agents each, until there are enough.
    fn add_agents(&mut self, random: &mut Random, count: usize) {
        let mut rare = vec![Role::MonthlyClose, Role::Rotation, Role::Backup, Role::Orchestrator, Role::Appliance];
        random.shuffle(&mut rare);
        while self.agents.len() < count {
            let role = rare.pop().unwrap_or_else(|| ROLES[random.weighted(&ROLES.map(|(_, weight, _)| weight))].0);
            let most = ROLES.iter().find(|(known, ..)| *known == role).map_or(1, |(.., most)| *most);
            let project = random.count(0..=self.projects.len() - 1);
            let template = self.template(random, role, project);
            let siblings = random.count(1..=most).min(count - self.agents.len());
            let known = self.agents.len();
            for number in 0..siblings {
                let agent = self.instance(random, &template, known + number);
                self.agents.push(agent);
            }
            if role == Role::Orchestrator {
                let helpers = random.count(1..=3);
                self.add_helpers(random, known, helpers);
            }
            if siblings > 1 && random.chance(0.35) {
                self.roll_out(random, &template);
            }
        }
        for agent in &mut self.agents {
            agent.changes(random, self.calendar.days);
        }
    }

    fn template(&self, random: &mut Random, role: Role, project: usize) -> Agent {
        let of = &self.projects[project];
        let owner = *random.pick(&of.team);
        // A rotation job sees all keys of its project, others a few.
        let wanted = match role {
            Role::Rotation | Role::Monitor => of.keys.len(),
            Role::TokenSigner | Role::Appliance => random.count(1..=2),
            Role::Assistant => random.count(2..=7),
            _ => random.count(1..=5),
        };
        let uses = uses(random, &of.keys, wanted);
        let used: Vec<_> = uses.iter().map(|used| used.key).collect();
        let free: Vec<_> = of.keys.iter().copied().filter(|key| !used.contains(key)).collect();
        let spare = random.sample(&free, 0..=8);
        let service = role == Role::Appliance || random.chance(0.12);
        let first = random.within(0.0..24.0);
        let runs = random.count(1..=4);
        Agent {
            id: format!("{}-{}", of.name, role.name()),
            kind: if service && role != Role::Assistant { Kind::Service } else { Kind::Agent },
            parent: (!service || role == Role::Assistant).then(|| self.people[owner].id.clone()),
            owner,
            role,
            project,
            sdk: random.count(0..=self.sdks.len() - 2),
            lag: random.day(0..6),
            uses,
            spare,
            places: Vec::new(),
            plane: match role {
                Role::Appliance => "kmip",
                Role::Assistant => ["mcp", "agent-ai", "rest"][random.weighted(&[0.5, 0.25, 0.25])],
                _ => "rest",
            },
            credential: *random.pick(&[HOUR, HOUR, HOUR, 12.0 * HOUR, DAY, 90.0 * DAY]),
            volume: 1.0,
            growth: 0.0,
            schedule: (0..runs).map(|run| (first + 24.0 * run as f64 / runs as f64) % 24.0).collect(),
            alive: 0..u32::MAX,
            later: None,
            every: random.day(1..8),
        }
    }

    fn instance(&self, random: &mut Random, template: &Agent, number: usize) -> Agent {
        let mut agent = template.clone();
        agent.id = format!("{}-{number:02}", template.id);
        agent.volume = random.lognormal(1.0, 0.45);
        if agent.role != Role::Assistant || random.chance(0.2) {
            agent.places = vec![(0, self.workplace(random, template.project))];
        }
        if random.chance(0.3) {
            // One of the template's agents has a task of its own, too.
            let extra = *random.pick(&self.projects[template.project].keys);
            if !agent.keys(0).contains(&extra) {
                agent.uses.push(Use { key: extra, weight: random.within(0.1..1.0), days: 0..u32::MAX });
                agent.spare.retain(|key| *key != extra);
            }
        }
        if agent.role == Role::Assistant {
            let team = &self.projects[template.project].team;
            agent.owner = *random.pick(team);
            agent.parent = Some(self.people[agent.owner].id.clone());
        }
        agent
    }

    /// Named sub-agents that live as long as the agent above them.
    fn add_helpers(&mut self, random: &mut Random, parent: usize, count: usize) {
        for number in 0..count {
            let above = &self.agents[parent];
            let mut helper = above.clone();
            helper.id = format!("{}/{}", above.id, ["fetch", "review", "write"][number % 3]);
            helper.parent = Some(above.id.clone());
            helper.kind = Kind::Agent;
            helper.role = *random.pick(&[Role::Retrieval, Role::Etl, Role::BatchSigner]);
            helper.volume = random.lognormal(0.4, 0.3);
            let kept = random.count(1..=2).min(helper.uses.len());
            let given_up = helper.uses.split_off(kept);
            helper.spare = given_up.iter().map(|used| used.key).take(2).collect();
            self.agents.push(helper);
        }
    }

    /// More agents of a template, all on one day.
    fn roll_out(&mut self, random: &mut Random, template: &Agent) {
        let from = random.day(4..self.calendar.days - 3);
        for _ in 0..random.count(2..=7) {
            let mut agent = self.instance(random, template, self.agents.len());
            agent.alive.start = from;
            self.agents.push(agent);
        }
    }

    pub(super) fn workplace(&self, random: &mut Random, project: usize) -> Network {
        let cloud = &self.clouds[self.projects[project].cloud];
        let count = random.count(1..=6);
        match random.weighted(&[0.5, 0.15, 0.35]) {
            0 => cloud.gateways(random, count.min(3)),
            1 => cloud.egress(random, count),
            _ => cloud.subnets(random, count),
        }
    }
}

/// Some keys, the first ones used most.
pub(super) fn uses(random: &mut Random, keys: &[usize], count: usize) -> Vec<Use> {
    let steep = random.within(0.0..1.4);
    let weight = |rank: usize| libm::pow(1.0 + rank as f64, -steep);
    let keys = random.sample(keys, count.max(1)..=count.max(1));
    keys.into_iter().enumerate().map(|(rank, key)| Use { key, weight: weight(rank), days: 0..u32::MAX }).collect()
}

fn sdks(random: &mut Random, days: u32) -> Vec<Sdk> {
    let known = [
        ("aegis-sdk-python", "python/3.12 linux"),
        ("aegis-sdk-go", "go1.24 linux/amd64"),
        ("aegis-sdk-java", "jdk/21 linux"),
        ("aegis-sdk-js", "node/22 linux"),
        // The last one is what humans use.
        ("aegis-cli", "macos"),
    ];
    let mut draw = |(name, runtime)| {
        let minor = random.count(2..=30);
        let mut versions = vec![(0, format!("1.{minor}.0"))];
        for release in 1..=random.count(0..=2) {
            versions.push((random.day(1..days), format!("1.{}.0", minor + release)));
        }
        versions.sort();
        Sdk { name, runtime, versions }
    };
    known.map(&mut draw).into_iter().collect()
}

/// How common a role is, and how many agents one template of it has at most.
const ROLES: [(Role, f64, usize); 12] = [
    (Role::Appliance, 0.5, 2),
    (Role::Assistant, 3.0, 6),
    (Role::Backup, 0.7, 3),
    (Role::BatchSigner, 1.2, 4),
    (Role::Ci, 1.5, 5),
    (Role::Etl, 1.2, 5),
    (Role::Monitor, 0.5, 2),
    (Role::MonthlyClose, 0.3, 2),
    (Role::Orchestrator, 0.8, 2),
    (Role::Retrieval, 1.5, 6),
    (Role::Rotation, 0.4, 1),
    (Role::TokenSigner, 0.8, 4),
];

const PURPOSES: [&str; 8] = ["sign", "data", "wrap", "token", "archive", "release", "secrets", "invoice"];
const SUBJECTS: [&str; 10] =
    ["billing", "search", "docs", "ledger", "mail", "media", "portal", "claims", "orders", "research"];
const FIRST_NAMES: [&str; 15] = [
    "alice", "bo", "chloe", "deniz", "emeka", "farah", "goran", "hana", "ines", "jun", "kofi", "lena", "mateo", "nia",
    "omar",
];
