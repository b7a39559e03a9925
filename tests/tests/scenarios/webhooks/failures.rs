//! Receivers that fail, each in its own way.

use super::*;

#[tokio::test]
async fn however_a_receiver_fails_it_gets_the_event_in_the_end_under_the_same_id() {
    let elsewhere = Receiver::start();
    let redirect = Manner::Status(307, format!("location: {}\r\n", elsewhere.url()));
    let table = [
        (Manner::status(500), json!(500), "it failed"),
        (Manner::status(400), json!(400), "it refuses"),
        (Manner::status(404), json!(404), "it refuses"),
        (redirect, json!(307), "it redirects, which is not followed"),
        (Manner::Hold, json!(null), "it did not answer in time"),
        (Manner::Reset, json!(null), "it broke off"),
        (Manner::Mumble, json!(null), "its answer is no HTTP"),
    ];
    for (manner, status, error) in table {
        let (world, receiver) = (World::new().await, Receiver::start());
        let (webhook, secret) = world.webhook(&receiver).await;
        receiver.then([manner.clone()]);
        world.sign().await;
        world.turn().await;
        let waiting = world.deliveries(&webhook, "pending").await;
        assert_eq!((&waiting[0]["status"], &waiting[0]["error"]), (&status, &json!(error)), "{manner:?}");
        assert_eq!(waiting[0]["attempts"], 1, "{manner:?}");
        world.turn().await;
        assert_eq!(world.deliveries(&webhook, "pending").await.len(), 1, "{manner:?}: not before its time");
        world.deployment.pass(7);
        world.turn().await;
        let delivered = world.deliveries(&webhook, "delivered").await;
        assert_eq!(delivered[0]["attempts"], 2, "{manner:?}");
        let posts = receiver.posts();
        assert!(posts.iter().all(|post| json!(post.header("webhook-id")) == delivered[0]["id"]), "{manner:?}");
        let last = posts.last().unwrap();
        assert!(bears(last, &secret), "{manner:?}");
        assert_eq!(last.header("webhook-timestamp"), world.deployment.now().to_string(), "{manner:?}");
        receiver.release();
    }
    assert_eq!(elsewhere.connections(), 0, "nobody is sent on");
}

#[tokio::test]
async fn a_success_is_one_whatever_its_body() {
    for manner in [Manner::Slow, Manner::Endless, Manner::status(202)] {
        let (world, receiver) = (World::new().await, Receiver::start());
        let (webhook, _) = world.webhook(&receiver).await;
        receiver.then([manner.clone()]);
        world.sign().await;
        world.turn().await;
        assert_eq!(world.deliveries(&webhook, "delivered").await.len(), 1, "{manner:?}");
        receiver.release();
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let (world, receiver) = (World::new().await, Receiver::start());
    // A port that nobody listens at: bound, and let go.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let events = json!([{ "kind": "key_use" }]);
    let (webhook, _) = world.webhook_for(&format!("http://127.0.0.1:{port}/"), events).await;
    world.webhook(&receiver).await;
    world.sign().await;
    world.turn().await;
    assert_eq!(world.deliveries(&webhook, "pending").await[0]["error"], "it takes no connection");
    assert_eq!(receiver.posts().len(), 1);
}

#[tokio::test]
async fn after_ten_attempts_a_delivery_is_dead_until_it_is_redriven() {
    let (world, receiver) = (World::new().await, Receiver::start());
    receiver.always(Some(Manner::status(500)));
    let (webhook, _) = world.webhook(&receiver).await;
    world.sign().await;
    for attempts in 1..=10 {
        world.turn().await;
        assert_eq!(receiver.posts().len(), attempts);
        // Longer than the longest wait.
        world.deployment.pass(110_000);
    }
    world.turn().await;
    assert_eq!(receiver.posts().len(), 10, "enough is enough");
    let dead = world.deliveries(&webhook, "dead").await;
    assert_eq!((&dead[0]["attempts"], &dead[0]["state"]), (&json!(10), &json!("dead")));
    assert_eq!(world.shown(&webhook).await["dead"], 1);
    let kept: Timestamp = text(&dead[0], "kept_until").parse().unwrap();
    let died: Timestamp = text(&dead[0], "attempted_at").parse().unwrap();
    assert_eq!(kept.as_second() - died.as_second(), 30 * 86_400);
    receiver.always(None);
    let path = format!("/v1/webhooks/{webhook}/redrive");
    assert_eq!(world.ask(Method::POST, &path).await.ok(), json!({ "redriven": 1, "more": false }));
    world.turn().await;
    let ids: Vec<String> = receiver.posts().iter().map(|post| post.header("webhook-id")).collect();
    assert!(ids.len() == 11 && ids.iter().all(|id| *id == ids[0]));
    assert_eq!(world.ask(Method::POST, &path).await.ok(), json!({ "redriven": 0, "more": false }));
    // One by its id; what is not dead, and what is not there, is said so.
    let alice = world.deployment.alice().await;
    let one = |id: &str| world.deployment.post(&alice, &path, json!({ "delivery": id }));
    assert_eq!(one(&ids[0]).await.failed(409), "state");
    assert_eq!(one(&format!("dlv_{:032x}", 1)).await.failed(404), "not-found");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_disabled_on_record_until_a_redrive() {
    let (world, receiver) = (World::new().await, Receiver::start());
    let (webhook, _) = world.webhook(&receiver).await;
    receiver.then([Manner::status(500), Manner::status(410)]);
    world.sign().await;
    world.turn().await;
    world.sign().await;
    world.turn().await;
    assert_eq!(world.shown(&webhook).await["state"], "disabled");
    world.sign().await;
    world.deployment.pass(600);
    world.turn().await;
    assert_eq!(receiver.posts().len(), 2, "it is told nothing more");
    let on_record = world.ask(Method::GET, "/v1/audit?op=webhook.disable").await.ok();
    assert_eq!(on_record["items"].as_array().unwrap().len(), 1);
    assert_eq!(on_record["items"][0]["object"], webhook);
    let mut why: Vec<String> =
        world.deliveries(&webhook, "dead").await.iter().map(|dead| text(dead, "error")).collect();
    why.sort();
    assert_eq!(why, ["it is gone", "the webhook is disabled"]);
    assert_eq!(world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/test")).await.failed(409), "state");
    let redriven = world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/redrive")).await.ok();
    assert_eq!(redriven["redriven"], 2);
    world.turn().await;
    assert_eq!(world.shown(&webhook).await["state"], "active");
    assert_eq!(receiver.posts().len(), 5, "the two, and the one that waited in the journal");
}

#[tokio::test]
async fn a_receiver_that_wants_a_pause_gets_it_for_all_its_events() {
    for status in [429, 503] {
        let (world, receiver) = (World::new().await, Receiver::start());
        world.webhook(&receiver).await;
        receiver.then([Manner::Status(status, "retry-after: 120\r\n".to_string())]);
        world.sign().await;
        world.turn().await;
        world.sign().await;
        world.deployment.pass(119);
        world.turn().await;
        assert_eq!(receiver.posts().len(), 1, "{status}");
        world.deployment.pass(1);
        world.turn().await;
        assert_eq!(receiver.posts().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn a_test_sends_an_event_that_says_nothing() {
    for (format, pointer) in [("ocsf", "/data/webhook"), ("plain", "/data/webhook")] {
        let (world, receiver) = (World::new().await, Receiver::start());
        let asked = json!({ "url": receiver.url(), "events": [{ "kind": "responses" }], "format": format });
        let made = world.deployment.post(&world.alice, "/v1/webhooks", asked).await.ok();
        let webhook = text(&made, "id");
        let sent = world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/test")).await.ok();
        world.turn().await;
        let posts = receiver.posts();
        assert_eq!((posts.len(), json!(posts[0].header("webhook-id"))), (1, sent["id"].clone()));
        assert_eq!(posts[0].json()["type"], "aegis.ping");
        assert_eq!(posts[0].json().pointer(pointer), Some(&json!(webhook)));
        assert!(bears(&posts[0], &text(&made, "secret")));
    }
}
