//! Who can use a key, as KMS tells it.

use crate::network::Fault;
use crate::setup::{Setup, first, invalid, key_id, unavailable};
use aegis_core::algorithm::Algorithm;
use aegis_core::keystore::{KeyStore, Material};
use aegis_core::survey::{ObjectState, Survey, Way};
use aegis_keystores::aws_kms::Principals;
use aws_sdk_kms::types::{GrantOperation, KeySpec, KeyUsageType, Tag};

const AEGIS: &str = "arn:aws:iam::000000000000:role/aegis";
const GLASS: &str = "arn:aws:iam::000000000000:role/break-glass";
const EVE: &str = "arn:aws:iam::000000000000:role/eve";

fn meant() -> Principals {
    Principals::new([AEGIS.to_string()], [GLASS.to_string()]).unwrap()
}

async fn survey(setup: &Setup, material: &Material) -> Survey {
    setup.store.survey(material).await.unwrap().unwrap()
}

fn who(survey: &Survey) -> Vec<(&str, Way)> {
    survey.used_by.iter().map(|other| (other.principal.as_str(), other.by)).collect()
}

#[tokio::test]
async fn a_key_is_shared_until_its_policy_is_the_one_that_aegis_prints() {
    let setup = Setup::new().with_principals(meant());
    let arn = setup.key(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let material = setup.register(Algorithm::EcdsaP256, &arn).await.unwrap();
    let id = key_id();
    let version = first(&id, Algorithm::EcdsaP256);
    let before = survey(&setup, &material).await;
    assert_eq!((before.state, before.shared), (ObjectState::Enabled, true));
    assert_eq!(who(&before), [("arn:aws:iam::000000000000:root", Way::Account)], "as KMS makes a key");

    let grant = setup.plain.create_grant().key_id(&arn).grantee_principal(EVE).operations(GrantOperation::Sign);
    let grant = grant.operations(GrantOperation::DescribeKey).send().await.unwrap().grant_id.unwrap();
    let lockdown = setup.store.lockdown(version, &material).await.unwrap();
    assert_eq!(lockdown.object, arn);
    assert_eq!(lockdown.leaves_out, before.used_by);
    let [remains] = &lockdown.remains[..] else { panic!("{lockdown:?}") };
    assert_eq!((remains.principal.as_str(), remains.grant.as_deref()), (EVE, Some(grant.as_str())));
    assert_eq!(remains.may, ["Sign"]);
    let policy = lockdown.policy.to_string();
    setup.plain.put_key_policy().key_id(&arn).policy_name("default").policy(policy).send().await.unwrap();
    assert_eq!(who(&survey(&setup, &material).await), [(EVE, Way::Grant)]);
    setup.plain.revoke_grant().key_id(&arn).grant_id(grant).send().await.unwrap();
    let after = survey(&setup, &material).await;
    assert_eq!((after.shared, after.used_by), (false, vec![]));

    // Without the settings that say who is who there is no such policy.
    let unnamed = Setup::new();
    invalid(unnamed.store.lockdown(version, &material).await, "aegis_principals");
    assert_eq!(who(&survey(&unnamed, &material).await), [(AEGIS, Way::Policy), (GLASS, Way::Policy)]);
}

#[tokio::test]
async fn its_state_its_aliases_and_its_tags_are_told() {
    let setup = Setup::new();
    let arn = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let alias = format!("alias/ledger-{}", arn.rsplit_once('/').unwrap().1);
    setup.plain.create_alias().alias_name(&alias).target_key_id(&arn).send().await.unwrap();
    let tag = Tag::builder().tag_key("team").tag_value("billing").build().unwrap();
    setup.plain.tag_resource().key_id(&arn).tags(tag).send().await.unwrap();
    let material = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    let found = survey(&setup, &material).await;
    assert_eq!((found.state, found.aliases), (ObjectState::Enabled, vec![alias]));
    assert_eq!(found.tags, [("team".to_string(), "billing".to_string())].into());
    setup.plain.disable_key().key_id(&arn).send().await.unwrap();
    assert_eq!(survey(&setup, &material).await.state, ObjectState::Disabled);
    setup.plain.schedule_key_deletion().key_id(&arn).pending_window_in_days(7).send().await.unwrap();
    assert_eq!(survey(&setup, &material).await.state, ObjectState::PendingDeletion);
    let gone = format!("{}/{}", arn.rsplit_once('/').unwrap().0, "00000000-0000-0000-0000-000000000000");
    let gone = Material { sealed: gone.into_bytes(), public_key: None };
    assert_eq!(survey(&setup, &gone).await.state, ObjectState::Gone);
}

#[tokio::test]
async fn copies_of_a_key_in_other_regions_share_it() {
    let setup = Setup::new().with_principals(meant());
    let made = setup.plain.create_key().multi_region(true).send().await.unwrap();
    let arn = made.key_metadata.unwrap().arn.unwrap();
    let made = setup.plain.replicate_key().key_id(&arn).replica_region("eu-central-1").send().await.unwrap();
    let replica = made.replica_key_metadata.unwrap().arn.unwrap();
    let material = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    let found = survey(&setup, &material).await;
    assert!(who(&found).contains(&(replica.as_str(), Way::Replica)), "{found:?}");
}

#[tokio::test]
async fn what_aegis_may_not_read_counts_as_somebody() {
    let setup = Setup::new().with_principals(meant());
    let arn = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let material = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    let id = key_id();
    let lockdown = setup.store.lockdown(first(&id, Algorithm::Aes256Gcm), &material).await.unwrap();
    let policy = lockdown.policy.to_string();
    setup.plain.put_key_policy().key_id(&arn).policy_name("default").policy(policy).send().await.unwrap();
    assert!(!survey(&setup, &material).await.shared);
    let denied = || Fault::Answer(400, r#"{"__type":"AccessDeniedException","message":"no"}"#.to_string());
    for (operation, shared) in
        [("GetKeyPolicy", true), ("ListGrants", true), ("ListAliases", false), ("ListResourceTags", false)]
    {
        setup.network.plan(operation, [denied()]);
        let found = survey(&setup, &material).await;
        assert_eq!(found.shared, shared, "{operation}");
        assert_eq!(who(&found), if shared { vec![("*", Way::Unread)] } else { vec![] }, "{operation}");
    }
    // Not told is not away.
    setup.network.plan("ListGrants", vec![Fault::LostRequest; 4]);
    unavailable(setup.store.survey(&material).await, "cut");
}
