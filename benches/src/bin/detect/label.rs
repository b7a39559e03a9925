//! What is known of an event that the judge may not see.

use aegis_events::replay::event::Event;

pub(crate) struct Labelled {
    pub(crate) event: Event,
    pub(crate) part: Option<Part>,
    /// What was going on, of what is benign and out of the ordinary: to say what false alarms come from.
    pub(crate) circumstance: Option<Circumstance>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Circumstance {
    Backfill,
    EarlyDeploy,
    Journey,
    MatrixBuild,
    MonthEnd,
    Moved,
    NewKey,
    NewOperation,
    OddHours,
    Outage,
    PolicyMistake,
    RestoreTest,
    RollOut,
    StrayRefusal,
}

/// Of which attack an event is a part.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// Unique in its organisation.
    pub(crate) attack: u32,
    pub(crate) scenario: Scenario,
    /// False while an attacker only gets the baseline used to him: such an event counts for nothing, neither as one to
    /// find nor as one to leave alone.
    pub(crate) malicious: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scenario {
    /// An agent led to keys it has no business with, by what it read.
    Injection,
    /// Many keys tried, one after the other.
    Enumeration,
    /// Keys of its scope that it never used.
    Probing,
    /// A sub-agent used for its parent's keys, or a sibling group's.
    Deputy,
    /// Days of getting the baseline used to it, then the attack.
    Poisoning,
    /// A credential used elsewhere, slowly.
    Theft,
    /// A credential used elsewhere while its owner works.
    Sharing,
    /// Other operations on the keys it knows.
    OpSwitch,
    /// 80 signatures a second.
    Burst,
    /// A day of a little more than usual.
    Exfiltration,
    /// A human's credential at hours he never works.
    OffHours,
    /// Three agents or more of one human, each a little above its usual rate.
    Concert,
}

impl Scenario {
    pub(crate) const ALL: [Self; 12] = [
        Self::Injection,
        Self::Enumeration,
        Self::Probing,
        Self::Deputy,
        Self::Poisoning,
        Self::Theft,
        Self::Sharing,
        Self::OpSwitch,
        Self::Burst,
        Self::Exfiltration,
        Self::OffHours,
        Self::Concert,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Injection => "injection",
            Self::Enumeration => "enumeration",
            Self::Probing => "probing",
            Self::Deputy => "deputy",
            Self::Poisoning => "poisoning",
            Self::Theft => "theft",
            Self::Sharing => "sharing",
            Self::OpSwitch => "op-switch",
            Self::Burst => "burst",
            Self::Exfiltration => "exfiltration",
            Self::OffHours => "off-hours",
            Self::Concert => "concert",
        }
    }
}
