//! Webhooks of a deployment: what is on record arrives, signed, and is tried again where it does not.

use aegis_tests::receiver::{Manner, Receiver};
use aegis_tests::site::{EVERYTHING, site, wait_for};
use aegis_tests::{message, text};
use serde_json::json;

#[test]
fn what_is_on_record_arrives_signed_however_often_it_must_be_tried() {
    let (site, receiver) = (site(), Receiver::start());
    let alice = site.log_in("alice@org", &EVERYTHING);
    let name = site.name("hooked");
    let key = text(&site.key(&alice, &name, "Ed25519"), "id");
    let (agent, token) = site.agent(&alice, &format!("key:{name}:sign"), "service");
    receiver.then([Manner::status(503)]);
    let asked = json!({ "url": receiver.url(), "events": [{ "kind": "key_use" }], "format": "plain" });
    let made = site.post(&alice, "/v1/webhooks", asked).ok();
    let webhook = format!("/v1/webhooks/{}", text(&made, "id"));
    site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"x")).ok();
    let of_agent = |post: &aegis_tests::receiver::Post| post.json()["data"]["agents"] == json!([agent]);
    let posts = wait_for("the second try", || {
        let posts: Vec<_> = receiver.posts().into_iter().filter(of_agent).collect();
        (posts.len() >= 2).then_some(posts)
    });
    let (first, second) = (&posts[0], &posts[1]);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(second.json()["data"]["key"], json!(key));
    let known = standardwebhooks::Webhook::new(&text(&made, "secret")).unwrap();
    let at = second.header("webhook-timestamp").parse().unwrap();
    let wanted = known.sign(&second.header("webhook-id"), at, &second.body).unwrap();
    assert_eq!(second.header("webhook-signature"), wanted);
    let id = second.header("webhook-id");
    wait_for("the delivery", || {
        let listed = site.get(&alice, &format!("{webhook}/deliveries?state=delivered")).ok();
        listed["items"].as_array().unwrap().iter().any(|found| found["id"] == json!(id)).then_some(())
    });
    site.call(&http::Method::DELETE, &alice, &webhook, None).ok();
}
