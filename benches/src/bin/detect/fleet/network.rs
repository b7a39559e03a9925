//! Where requests come from.

use crate::random::Random;

/// Addresses somebody's requests come from at one time of his life.
#[derive(Clone)]
pub(crate) enum Network {
    /// A few fixed ones: egress of a site, or a NAT gateway in each zone of a region.
    Pool(Vec<String>),
    /// Any host of these /24: instances or pods that come and go.
    Hosts(Vec<[u8; 3]>),
    /// IPv6 with privacy addresses: one /64, ever other hosts.
    Privacy(String),
}

impl Network {
    pub(crate) fn address(&self, random: &mut Random) -> String {
        match self {
            Self::Pool(addresses) => random.pick(addresses).clone(),
            Self::Hosts(nets) => {
                let [a, b, c] = random.pick(nets);
                format!("{a}.{b}.{c}.{}", random.count(2..=253))
            }
            Self::Privacy(prefix) => {
                let mut group = || random.count(0x1000..=0xffff);
                format!("{prefix}:{:x}:{:x}:{:x}:{:x}", group(), group(), group(), group())
            }
        }
    }
}

/// A block of addresses that one provider hands out: a region of a cloud, an ISP in a city, a mobile carrier.
#[derive(Clone)]
pub(crate) struct Provider {
    blocks: Vec<[u8; 2]>,
}

impl Provider {
    pub(crate) fn cloud(random: &mut Random) -> Self {
        Self::draw(random, &[3, 13, 15, 18, 34, 35, 44, 52, 54, 20, 40], 2)
    }

    /// Inside the organisation's own network.
    pub(crate) fn private(random: &mut Random) -> Self {
        Self::draw(random, &[10], 2)
    }

    pub(crate) fn consumer(random: &mut Random) -> Self {
        let first =
            [24, 67, 71, 73, 76, 79, 80, 81, 82, 83, 84, 86, 87, 88, 90, 91, 92, 95, 109, 151, 176, 178, 188, 213];
        Self::draw(random, &first, 3)
    }

    pub(crate) fn hosting(random: &mut Random) -> Self {
        let first =
            [5, 37, 45, 46, 51, 94, 103, 104, 128, 134, 138, 142, 144, 146, 157, 159, 161, 164, 167, 185, 193, 195];
        Self::draw(random, &first, 1)
    }

    fn draw(random: &mut Random, first: &[u8], at_most: usize) -> Self {
        let mut block = || [*random.pick(first), random.count(0..=254) as u8];
        let blocks = (0..at_most).map(|_| block()).collect::<Vec<_>>();
        let count = random.count(1..=at_most);
        Self { blocks: blocks[..count].to_vec() }
    }

    fn net(&self, random: &mut Random) -> [u8; 3] {
        let [a, b] = *random.pick(&self.blocks);
        [a, b, random.count(0..=254) as u8]
    }

    pub(crate) fn address(&self, random: &mut Random) -> String {
        let [a, b, c] = self.net(random);
        format!("{a}.{b}.{c}.{}", random.count(2..=253))
    }

    /// A gateway in each of a few zones.
    pub(crate) fn gateways(&self, random: &mut Random, count: usize) -> Network {
        Network::Pool((0..count).map(|_| self.address(random)).collect())
    }

    /// Several addresses side by side in one /24.
    pub(crate) fn egress(&self, random: &mut Random, count: usize) -> Network {
        let [a, b, c] = self.net(random);
        let first = random.count(2..=240);
        Network::Pool((0..count).map(|host| format!("{a}.{b}.{c}.{}", first + host)).collect())
    }

    /// Instances that come and go in some subnets.
    pub(crate) fn subnets(&self, random: &mut Random, count: usize) -> Network {
        Network::Hosts((0..count).map(|_| self.net(random)).collect())
    }
}

/// A home with IPv6.
pub(crate) fn home_with_privacy(random: &mut Random) -> Network {
    let mut group = || random.count(0x100..=0xffff);
    Network::Privacy(format!("2a02:{:x}:{:x}:{:x}", group(), group(), group()))
}
