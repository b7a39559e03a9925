use super::*;
use proptest::prelude::*;

const AEGIS: &str = "arn:aws:iam::111122223333:role/aegis";
const GLASS: &str = "arn:aws:iam::111122223333:role/break-glass";
const ROOT: &str = "arn:aws:iam::111122223333:root";
const EVE: &str = "arn:aws:iam::111122223333:role/eve";

fn meant() -> Principals {
    Principals::new([AEGIS.to_string()], [GLASS.to_string()]).unwrap()
}

/// Who, by what, and whether under conditions.
fn found(statement: Value) -> Option<Vec<(String, Way, bool)>> {
    let policy = json!({ "Version": "2012-10-17", "Statement": statement });
    let others = by_policy(&policy.to_string(), &meant())?;
    Some(others.into_iter().map(|other| (other.principal, other.by, other.conditional)).collect())
}

fn allow(principal: Value, action: Value) -> Value {
    json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*" })
}

#[test]
fn who_can_use_a_key_by_its_policy() {
    let one = |who: &str, way, conditional| vec![(who.to_string(), way, conditional)];
    let with = |mut statement: Value, key: &str, value: Value| {
        statement[key] = value;
        statement
    };
    let aws = |who: &str| json!({ "AWS": who });
    let when = |condition: Value| with(allow(aws("*"), json!("kms:*")), "Condition", condition);
    let table = [
        // The key's policy as KMS makes it, if nobody says otherwise.
        (allow(aws(ROOT), json!("kms:*")), one(ROOT, Way::Account, false)),
        (allow(aws("111122223333"), json!("kms:*")), one("111122223333", Way::Account, false)),
        (allow(aws(EVE), json!(["kms:DescribeKey", "kms:Sign"])), one(EVE, Way::Policy, false)),
        (allow(aws(EVE), json!("KMS:gen*MAC")), one(EVE, Way::Policy, false)),
        (allow(aws(EVE), json!("kms:?ign")), one(EVE, Way::Policy, false)),
        (allow(aws(EVE), json!(["kms:Describe*", "kms:ListGrants", "kms:GetPublicKey"])), vec![]),
        (allow(aws(EVE), json!("kms:PutKeyPolicy")), one(EVE, Way::Policy, false)),
        (allow(aws(EVE), json!("kms:CreateGrant")), one(EVE, Way::Policy, false)),
        (allow(aws(EVE), json!("s3:*")), vec![]),
        (allow(json!("*"), json!("*")), one("*", Way::Everybody, false)),
        (
            allow(json!({ "Service": "logs.amazonaws.com" }), json!("kms:Encrypt*")),
            one("logs.amazonaws.com", Way::Policy, false),
        ),
        (allow(json!({ "AWS": [AEGIS, GLASS] }), json!("kms:*")), vec![]),
        (allow(json!({ "AWS": [AEGIS, EVE] }), json!("kms:*")), one(EVE, Way::Policy, false)),
        // A name that only looks like one of ours.
        (allow(aws(&format!("{AEGIS}2")), json!("kms:*")), one(&format!("{AEGIS}2"), Way::Policy, false)),
        (with(allow(aws(EVE), json!("kms:*")), "Effect", json!("Deny")), vec![]),
        (
            json!({ "Effect": "Allow", "NotPrincipal": { "AWS": EVE }, "Action": "kms:*", "Resource": "*" }),
            one("*", Way::Everybody, false),
        ),
        (
            json!({ "Effect": "Allow", "Principal": { "AWS": EVE }, "NotAction": "kms:Sign", "Resource": "*" }),
            one(EVE, Way::Policy, false),
        ),
        (json!({ "Effect": "Allow", "Principal": { "AWS": EVE }, "NotAction": ["kms:*"], "Resource": "*" }), vec![]),
        // Conditions.
        (when(json!({ "StringEquals": { "kms:ViaService": "s3" } })), one("*", Way::Everybody, true)),
        (when(json!({ "ArnEquals": { "aws:PrincipalArn": [AEGIS] } })), vec![]),
        (when(json!({ "StringLike": { "AWS:principalarn": EVE } })), one(EVE, Way::Policy, false)),
        (
            when(json!({ "ArnLike": { "aws:PrincipalArn": "arn:aws:iam::111122223333:role/aeg*" } })),
            one("arn:aws:iam::111122223333:role/aeg*", Way::Policy, false),
        ),
        (when(json!({ "ArnEqualsIfExists": { "aws:PrincipalArn": AEGIS } })), one("*", Way::Everybody, true)),
        (when(json!({ "ArnNotEquals": { "aws:PrincipalArn": AEGIS } })), one("*", Way::Everybody, true)),
        (when(json!({ "ForAnyValue:StringEquals": { "aws:PrincipalArn": AEGIS } })), one("*", Way::Everybody, true)),
        (
            when(json!({ "ArnEquals": { "aws:PrincipalArn": EVE }, "Bool": { "aws:SecureTransport": "true" } })),
            one(EVE, Way::Policy, true),
        ),
        (
            with(allow(aws(EVE), json!("kms:*")), "Condition", json!({ "ArnEquals": { "aws:PrincipalArn": AEGIS } })),
            one(EVE, Way::Policy, true),
        ),
    ];
    for (statement, want) in table {
        assert_eq!(found(statement.clone()).unwrap(), want, "{statement}");
        assert_eq!(found(json!([statement])).unwrap(), want);
    }
}

#[test]
fn what_one_may_by_several_statements_is_told_together() {
    let statements =
        json!([allow(json!({ "AWS": EVE }), json!("kms:Sign")), allow(json!({ "AWS": EVE }), json!("kms:Verify"))]);
    let policy = json!({ "Statement": statements }).to_string();
    let [other] = &by_policy(&policy, &meant()).unwrap()[..] else { panic!("one") };
    assert_eq!(other.may, ["Sign", "Verify"]);
    let all = json!({ "Statement": allow(json!({ "AWS": EVE }), json!("kms:*")) }).to_string();
    assert_eq!(by_policy(&all, &meant()).unwrap()[0].may, ["*"]);
}

#[test]
fn what_is_not_understood_is_not_taken_for_empty() {
    let bad = [
        json!("x"),
        json!({}),
        json!({ "Effect": "Perhaps" }),
        json!({ "Effect": "Allow", "Action": "kms:*" }),
        json!({ "Effect": "Allow", "Principal": 7, "Action": "kms:*" }),
        json!({ "Effect": "Allow", "Principal": { "AWS": [7] }, "Action": "kms:*" }),
        json!({ "Effect": "Allow", "Principal": "*" }),
        json!({ "Effect": "Allow", "Principal": "*", "Action": 7 }),
        json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:Sign", "NotAction": "kms:*" }),
        json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Condition": "x" }),
    ];
    for statement in bad {
        assert_eq!(found(statement.clone()), None, "{statement}");
    }
    for policy in ["", "[]", "{}", "{\"Statement\":", "null"] {
        assert_eq!(by_policy(policy, &meant()), None, "{policy}");
    }
}

#[test]
fn whom_grants_let_use_a_key() {
    let by = |grantee: Option<&str>, operations: &[&str]| {
        by_grant(Some("g1"), grantee, operations.iter().copied(), false, &meant())
            .map(|other| (other.principal, other.may))
    };
    let eve = |may: &[&str]| Some((EVE.to_string(), may.iter().map(ToString::to_string).collect()));
    assert_eq!(by(Some(EVE), &["DescribeKey", "Sign"]), eve(&["Sign"]));
    assert_eq!(by(Some(EVE), &["DescribeKey", "GetPublicKey", "RetireGrant"]), None);
    assert_eq!(by(Some(EVE), &["WhatIsToCome"]), eve(&["WhatIsToCome"]));
    assert_eq!(by(Some(AEGIS), &["Sign"]), None);
    assert_eq!(by(None, &["Sign"]).unwrap().0, "*");
}

#[test]
fn the_policy_that_keeps_a_key_for_aegis_does() {
    let arn = "arn:aws-cn:kms:cn-north-1:111122223333:key/1";
    let policy = policy_for(arn, &meant(), &["Sign", "Verify"]).unwrap();
    assert_eq!(by_policy(&policy.to_string(), &meant()), Some(vec![]));
    assert_eq!(policy["Statement"][0]["Principal"]["AWS"], "arn:aws-cn:iam::111122223333:root");
    // To anybody else it is one that lets two use the key.
    let others = by_policy(&policy.to_string(), &Principals::default()).unwrap();
    assert_eq!(others.iter().map(|other| other.principal.as_str()).collect::<Vec<_>>(), [AEGIS, GLASS]);
    let none = || std::iter::empty::<String>();
    let no_aegis = Principals::new(none(), [GLASS.to_string()]).unwrap();
    assert_eq!(policy_for(arn, &no_aegis, &["Sign"]), Err(Unnamed::Aegis));
    let no_glass = Principals::new([AEGIS.to_string()], none()).unwrap();
    assert_eq!(policy_for(arn, &no_glass, &["Sign"]), Err(Unnamed::BreakGlass));
    for arn in ["", "alias/x", "arn:aws:kms:eu-central-1::key/1"] {
        assert_eq!(policy_for(arn, &meant(), &["Sign"]), Err(Unnamed::Account), "{arn}");
    }
}

#[test]
fn whom_a_key_may_be_meant_for() {
    let good = ["arn:aws:iam::111122223333:role/a/b", "arn:aws-us-gov:iam::111122223333:user/a"];
    let bad = [
        ROOT,
        "111122223333",
        "*",
        "",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/a?",
        "arn:aws:iam::11112222333:role/a",
        "arn:aws:sts::111122223333:assumed-role/a/b",
        "arn:aws:iam::111122223333:group/a",
    ];
    for arn in good {
        Principals::new([arn.to_string()], []).unwrap();
    }
    for arn in bad {
        assert!(Principals::new([], [arn.to_string()]).is_err(), "{arn}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("Allow"),
        Just("*"),
        Just("kms:*"),
        Just("Statement"),
        Just("Effect"),
        Just("Principal"),
        Just("Action"),
        Just("AWS"),
        Just("Condition"),
        Just("ArnEquals"),
        Just("aws:PrincipalArn"),
        Just(AEGIS)
    ];
    let leaf = prop_oneof![word.clone().prop_map(Value::from), Just(Value::Null), any::<u8>().prop_map(Value::from)];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let entries = proptest::collection::vec((word.clone(), inner.clone()), 0..6);
        let object = entries.prop_map(|entries| entries.into_iter().map(|(k, v)| (k.to_string(), v)).collect());
        prop_oneof![proptest::collection::vec(inner, 0..4).prop_map(Value::Array), object.prop_map(Value::Object)]
    })
}

proptest! {
    #[test]
    fn any_document_is_read_or_refused(document in any_json(), text in ".{0,200}") {
        let _ = by_policy(&document.to_string(), &meant());
        let _ = by_policy(&text, &meant());
    }

    /// Held against a plain recursion.
    #[test]
    fn patterns_are_those_of_iam(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
        fn plain(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) if plain(rest, text) => true,
                (Some((b'*', _)), Some((_, text))) => plain(pattern, text),
                (Some((p, rest)), Some((t, text))) => (*p == b'?' || p == t) && plain(rest, text),
                _ => false,
            }
        }
        prop_assert_eq!(like(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
    }
}
