//! Who can use a KMS key without Aegis, as far as the key itself says: its policy, its grants, its replicas. What it leaves to
//! the account's own policies may be anybody's. In doubt somebody can.

use aegis_core::survey::{Other, Way};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Those that a key is meant for: ARNs of roles or users of IAM.
#[derive(Clone, Debug, Default)]
pub struct Principals {
    aegis: BTreeSet<String>,
    break_glass: BTreeSet<String>,
}

/// Is not the ARN of a role or a user.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the ARN of one role or user: arn:aws:iam::ACCOUNT:role/NAME")]
pub struct NotAPrincipal(String);

impl Principals {
    /// Whom Aegis calls KMS as, and who may use and change a key in an emergency.
    ///
    /// # Errors
    /// One of them is not the ARN of one role or user.
    pub fn new(
        aegis: impl IntoIterator<Item = String>,
        break_glass: impl IntoIterator<Item = String>,
    ) -> Result<Self, NotAPrincipal> {
        let checked = |arn: String| if is_role_or_user(&arn) { Ok(arn) } else { Err(NotAPrincipal(arn)) };
        Ok(Self {
            aegis: aegis.into_iter().map(checked).collect::<Result<_, _>>()?,
            break_glass: break_glass.into_iter().map(checked).collect::<Result<_, _>>()?,
        })
    }

    fn are_meant(&self, arn: &str) -> bool {
        self.aegis.contains(arn) || self.break_glass.contains(arn)
    }
}

fn is_role_or_user(arn: &str) -> bool {
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some(partition), Some("iam"), Some(""), Some(account), Some(name)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_name = |name: &str| !name.is_empty() && !name.ends_with('/') && !name.contains(['*', '?', ':']);
    partition.starts_with("aws")
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && name.strip_prefix("role/").or_else(|| name.strip_prefix("user/")).is_some_and(is_name)
}

/// What counts as use: computing with the key, and letting others do so.
const USES: [&str; 16] = [
    "CreateGrant",
    "Decrypt",
    "DeriveSharedSecret",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "PutKeyPolicy",
    "ReEncryptFrom",
    "ReEncryptTo",
    "ReplicateKey",
    "Sign",
    "Verify",
    "VerifyMac",
];

/// Whom a key's policy lets use it, but for those it is meant for. `None` for what is no policy.
pub(super) fn by_policy(policy: &str, meant: &Principals) -> Option<Vec<Other>> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let mut found: BTreeMap<(String, Way, bool), BTreeSet<&str>> = BTreeMap::new();
    for statement in each(policy.get("Statement")?) {
        let statement = statement.as_object()?;
        match statement.get("Effect")?.as_str()? {
            "Allow" => {}
            // What a statement takes away is not looked at: more people are named than can use the key, never fewer.
            "Deny" => continue,
            _ => return None,
        }
        let named = |key: &str| statement.get(key).map(texts);
        let (actions, others) = (named("Action"), named("NotAction"));
        let allows = |operation: &str| match (&actions, &others) {
            (Some(Some(patterns)), None) => Some(patterns.iter().any(|pattern| covers(pattern, operation))),
            (None, Some(Some(patterns))) => Some(!patterns.iter().any(|pattern| covers(pattern, operation))),
            _ => None,
        };
        let mut may = BTreeSet::new();
        for operation in USES {
            if allows(operation)? {
                may.insert(operation);
            }
        }
        if may.is_empty() {
            continue;
        }
        let (principals, conditional) = principals(statement)?;
        for principal in principals.into_iter().filter(|principal| !meant.are_meant(principal)) {
            let way = match principal.as_str() {
                "*" => Way::Everybody,
                root if is_account(root) => Way::Account,
                _ => Way::Policy,
            };
            found.entry((principal, way, conditional)).or_default().extend(&may);
        }
    }
    let other = |((principal, by, conditional), may): ((String, Way, bool), BTreeSet<&str>)| Other {
        principal,
        by,
        may: words(&may),
        conditional,
        grant: None,
    };
    Some(found.into_iter().map(other).collect())
}

/// What is allowed, in few words.
fn words(may: &BTreeSet<&str>) -> Vec<String> {
    match may.len() == USES.len() {
        true => vec!["*".to_string()],
        false => may.iter().map(ToString::to_string).collect(),
    }
}

/// A grant, unless it is to those that the key is meant for, or lets nobody use it.
pub(super) fn by_grant<'a>(
    id: Option<&str>,
    grantee: Option<&str>,
    operations: impl Iterator<Item = &'a str>,
    constrained: bool,
    meant: &Principals,
) -> Option<Other> {
    let principal = grantee.unwrap_or("*");
    // What it is called today decides nothing: all that a grant gives but looking on is use.
    let may: Vec<_> = operations.filter(|name| !LOOKS.contains(name)).map(ToString::to_string).collect();
    (!may.is_empty() && !meant.are_meant(principal)).then(|| Other {
        principal: principal.to_string(),
        by: Way::Grant,
        may,
        conditional: constrained,
        grant: id.map(ToString::to_string),
    })
}

const LOOKS: [&str; 3] = ["DescribeKey", "GetPublicKey", "RetireGrant"];

/// Whom a statement is about, and whether under conditions that are not judged here.
fn principals(statement: &serde_json::Map<String, Value>) -> Option<(Vec<String>, bool)> {
    if statement.contains_key("NotPrincipal") {
        return Some((vec!["*".to_string()], statement.contains_key("Condition")));
    }
    let named: Vec<String> = match statement.get("Principal")? {
        Value::String(text) => vec![text.clone()],
        Value::Object(kinds) => {
            let texts: Option<Vec<_>> = kinds.values().map(texts).collect();
            texts?.into_iter().flatten().collect()
        }
        _ => return None,
    };
    let Some(condition) = statement.get("Condition") else { return Some((named, false)) };
    // The one condition that says who: of everybody, or of all that an account's policies name, these alone.
    let demands: Vec<_> = condition.as_object()?.iter().flat_map(|(operator, of)| demands(operator, of)).collect();
    let only = demands.iter().find_map(|demand| demand.principals());
    match only {
        Some(only) if named.iter().all(|name| name == "*" || is_account(name)) => Some((only, demands.len() > 1)),
        _ => Some((named, true)),
    }
}

/// One demand of a condition. All of them must be met.
struct Demand<'a> {
    operator: &'a str,
    key: &'a str,
    values: &'a Value,
}

fn demands<'a>(operator: &'a str, of: &'a Value) -> impl Iterator<Item = Demand<'a>> {
    of.as_object().into_iter().flatten().map(move |(key, values)| Demand { operator, key, values })
}

impl Demand<'_> {
    /// The ARNs that it demands one of. A pattern is nobody's ARN, and so among those that a key is not meant for.
    fn principals(&self) -> Option<Vec<String>> {
        let names = ["ArnEquals", "ArnLike", "StringEquals", "StringLike"].contains(&self.operator);
        (names && self.key.eq_ignore_ascii_case("aws:PrincipalArn")).then(|| texts(self.values)).flatten()
    }
}

/// An account as a whole: its number, or its root.
fn is_account(principal: &str) -> bool {
    let is_number = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let root = principal.strip_suffix(":root").and_then(|text| text.rsplit_once(':'));
    is_number(principal) || root.is_some_and(|(_, account)| is_number(account))
}

fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    each(value).iter().map(|text| text.as_str().map(ToString::to_string)).collect()
}

/// Whether a pattern of actions, as `kms:Generate*`, covers an operation.
fn covers(pattern: &str, operation: &str) -> bool {
    like(&pattern.to_ascii_lowercase(), &format!("kms:{}", operation.to_ascii_lowercase()))
}

/// `*` is any text, `?` any one character.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where the last `*` was, and how much of the text it covers: back there when nothing fits any more.
    let (mut at, mut star): ((usize, usize), Option<(usize, usize)>) = ((0, 0), None);
    while let Some(byte) = text.get(at.1) {
        let next = (at.0.saturating_add(1), at.1.saturating_add(1));
        match (pattern.get(at.0), star) {
            (Some(b'*'), _) => {
                star = Some(at);
                at.0 = next.0;
            }
            (Some(wanted), _) if wanted == byte || *wanted == b'?' => at = next,
            (_, Some((of, from))) => {
                let from = from.saturating_add(1);
                (star, at) = (Some((of, from)), (of.saturating_add(1), from));
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(at.0).all(|byte| *byte == b'*')
}

/// Why there is no policy that keeps a key for Aegis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unnamed {
    Aegis,
    BreakGlass,
    /// What the object is called names no account.
    Account,
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Unnamed {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Aegis => "the back end's settings do not name whom Aegis calls KMS as (`aegis_principals`)",
            Self::BreakGlass => {
                "the back end's settings name nobody for emergencies (`break_glass_principals`): under this policy nobody could ever change it"
            }
            Self::Account => "the object's ARN names no account",
        }
    }
}

/// The policy of a key for those it is meant for. IAM still decides what each of Aegis's roles may: the policy says no more
/// than that no others may anything.
pub(super) fn policy_for(arn: &str, meant: &Principals, actions: &[&str]) -> Result<Value, Unnamed> {
    let mut parts = arn.split(':').skip(1);
    let (Some(partition), Some(account)) = (parts.next(), parts.nth(2).filter(|account| is_account(account))) else {
        return Err(Unnamed::Account);
    };
    if meant.aegis.is_empty() {
        return Err(Unnamed::Aegis);
    }
    if meant.break_glass.is_empty() {
        return Err(Unnamed::BreakGlass);
    }
    let aegis = json!({
        "Sid": "Aegis",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:{partition}:iam::{account}:root") },
        "Action": actions.iter().map(|action| format!("kms:{action}")).collect::<Vec<_>>(),
        "Resource": "*",
        "Condition": { "ArnEquals": { "aws:PrincipalArn": meant.aegis } },
    });
    let break_glass = json!({
        "Sid": "BreakGlass",
        "Effect": "Allow",
        "Principal": { "AWS": meant.break_glass },
        "Action": "kms:*",
        "Resource": "*",
    });
    Ok(json!({ "Version": "2012-10-17", "Statement": [aegis, break_glass] }))
}

#[cfg(test)]
mod tests;
