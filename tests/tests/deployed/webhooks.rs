//! Webhooks of a deployment: what is on record arrives, signed, and is tried again where it does not.

use aegis_tests::receiver::{Manner, Post, Receiver};
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
    // What other tests do at the same time is told, too: the first post of all fails, whoever it is about.
    let (posts, own) = wait_for("a second try, and the agent's own event", || {
        let posts = receiver.posts();
        let tries = |post: &Post| posts.iter().filter(|other| id_of(other) == id_of(post)).count();
        let own = posts.iter().find(|post| post.json()["data"]["agents"] == json!([agent])).cloned();
        let tried_again = posts.first().is_some_and(|first| tries(first) >= 2);
        own.filter(|_| tried_again).map(|own| (posts.clone(), own))
    });
    assert_eq!(own.json()["data"]["key"], json!(key));
    let second = posts.iter().filter(|post| id_of(post) == id_of(&posts[0])).nth(1).unwrap();
    let known = standardwebhooks::Webhook::new(&text(&made, "secret")).unwrap();
    for post in [&own, second] {
        let at = post.header("webhook-timestamp").parse().unwrap();
        assert_eq!(post.header("webhook-signature"), known.sign(&id_of(post), at, &post.body).unwrap());
    }
    let id = id_of(second);
    wait_for("the delivery", || {
        let listed = site.get(&alice, &format!("{webhook}/deliveries?state=delivered")).ok();
        listed["items"].as_array().unwrap().iter().any(|found| found["id"] == json!(id)).then_some(())
    });
    site.call(&http::Method::DELETE, &alice, &webhook, None).ok();
}

fn id_of(post: &Post) -> String {
    post.header("webhook-id")
}
