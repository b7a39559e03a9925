//! Webhooks sent from this process: each webhook has a worker of its own, and where there is a feed a reader of the journal, so
//! that one slow receiver delays no other. What is posted, when, and what becomes of it is decided in the core.

mod post;
mod slow;

pub use post::{PATIENCE, Poster};
pub use slow::SlowReceivers;

use aegis_core::ambient::Timestamp;
use aegis_core::error::{Chain, Error};
use aegis_core::feed::Feed;
use aegis_core::id::WebhookId;
use aegis_core::pipeline::App;
use aegis_core::repository::Loaded;
use aegis_core::webhook::attempt::{self, Answer, Render, Settled};
use aegis_core::webhook::outbox::{self, Reader};
use aegis_core::webhook::{self, Delivery, DeliveryState, WebhookRecord, WebhookState};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};

/// Posts to one receiver at once.
const AT_ONCE: usize = 4;
/// Due deliveries read at once.
const PAGE: usize = 64;

/// Takes events from the journal to their receivers, at least once each.
pub struct Courier {
    post: Arc<Post>,
    /// `None` where records come by a queue, and deliveries are written down as they come.
    feed: Option<Arc<dyn Feed>>,
    receivers: tokio::sync::Mutex<HashMap<WebhookId, Receiver>>,
}

/// What is known of a webhook in this process; all of it can be lost.
#[derive(Default)]
struct Receiver {
    reader: Option<Reader>,
    worker: Option<JoinHandle<()>>,
}

/// How deliveries stand, over all webhooks that are active.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Backlog {
    pub pending: usize,
    /// Seconds since the oldest record that waits.
    pub lag_seconds: i64,
}

/// Posts since the last time this was asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Posts {
    pub dead: u64,
    pub delivered: u64,
    /// Failed, and tried again later.
    pub failed: u64,
}

impl Courier {
    pub fn new(app: Arc<App>, feed: Arc<dyn Feed>, poster: Poster, render: Render) -> Self {
        Self { feed: Some(feed), ..Self::without_feed(app, poster, render, None) }
    }

    /// One that posts what was put on its way elsewhere; to none of the receivers that are known for slow, if it is told of any.
    pub fn without_feed(
        app: Arc<App>,
        poster: Poster,
        render: Render,
        passes_over: Option<Arc<SlowReceivers>>,
    ) -> Self {
        let post = Post {
            app,
            poster: Arc::new(poster),
            render,
            passes_over,
            quiet: Mutex::default(),
            posts: Mutex::default(),
            stopping: AtomicBool::new(false),
        };
        Self { post: Arc::new(post), feed: None, receivers: tokio::sync::Mutex::default() }
    }

    /// Puts on its way what was committed since, and sees to it that what is due is posted. Does not wait for posts.
    ///
    /// # Errors
    /// [`Error::Unavailable`] of the store, where not even the webhooks can be read.
    pub async fn turn(&self) -> Result<Backlog, Error> {
        let app = &self.post.app;
        let mut receivers = self.receivers.lock().await;
        let mut backlog = Backlog::default();
        let webhooks = webhook::all(app.store.as_ref()).await?;
        receivers.retain(|id, _| webhooks.iter().any(|found| found.webhook.id == *id));
        for found in webhooks {
            let receiver = receivers.entry(found.webhook.id.clone()).or_default();
            let seen = match found.webhook.state {
                WebhookState::Active => self.serve(&found, receiver, &mut backlog).await,
                WebhookState::Deleted | WebhookState::Disabled => webhook::close(app, &found).await.map(drop),
            };
            if let Err(error) = seen {
                // Another process, or a store that does not answer: the place is read afresh the next time.
                receiver.reader = None;
                tracing::warn!(webhook = %found.webhook.id, error = %Chain(&error), "webhook put off");
            }
        }
        Ok(backlog)
    }

    async fn serve(&self, found: &WebhookRecord, receiver: &mut Receiver, backlog: &mut Backlog) -> Result<(), Error> {
        let app = &self.post.app;
        if let Some(feed) = &self.feed {
            let reader = match receiver.reader.take() {
                Some(reader) => reader,
                None => Reader::open(app, found).await?,
            };
            receiver.reader.insert(reader).drain(app, feed.as_ref(), found).await?;
        }
        let waiting = outbox::count(app.store.as_ref(), found, DeliveryState::Pending).await?;
        let age = |since: Timestamp| app.clock.now().as_second().saturating_sub(since.as_second());
        backlog.pending = backlog.pending.saturating_add(waiting.number);
        let lag = waiting.oldest.map_or(0, |oldest| age(oldest.at()));
        backlog.lag_seconds = backlog.lag_seconds.max(lag);
        let id = &found.webhook.id;
        if waiting.number > 0 && receiver.worker.as_ref().is_none_or(JoinHandle::is_finished) && !self.post.is_quiet(id)
        {
            receiver.worker = Some(tokio::spawn(work(Arc::clone(&self.post), id.clone())));
        }
        Ok(())
    }

    /// Posts what is due, and begins no post after `patience`. Those under way are finished; what is left stays due.
    ///
    /// # Errors
    /// As [`Courier::turn`].
    pub async fn post_due(self, patience: Duration) -> Result<(), Error> {
        self.turn().await?;
        // What is cut off here is waited for in `stop`.
        let _ = tokio::time::timeout(patience, self.idle()).await;
        self.stop().await;
        Ok(())
    }

    /// Waits for the posts under way, and whatever becomes due meanwhile.
    pub async fn idle(&self) {
        for receiver in self.receivers.lock().await.values_mut() {
            if let Some(worker) = &mut receiver.worker {
                // One that was cut off left its delivery due.
                let _ = worker.await;
            }
            receiver.worker = None;
        }
    }

    /// Finishes the posts under way, and begins no other.
    pub async fn stop(self) {
        self.post.stopping.store(true, Ordering::Relaxed);
        self.idle().await;
    }

    pub fn take_posts(&self) -> Posts {
        std::mem::take(&mut *self.post.posts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Courier(..)")
    }
}

struct Post {
    app: Arc<App>,
    poster: Arc<Poster>,
    render: Render,
    /// Learns which receivers are slow; posts to these are left to others.
    passes_over: Option<Arc<SlowReceivers>>,
    /// Until when a receiver wants nothing.
    quiet: Mutex<HashMap<WebhookId, Timestamp>>,
    posts: Mutex<Posts>,
    stopping: AtomicBool,
}

/// Posts what is due to one webhook, until nothing is.
async fn work(post: Arc<Post>, webhook: WebhookId) {
    loop {
        let due = match attempt::due(&post.app, &webhook, PAGE).await {
            Ok(due) => due,
            Err(error) => return tracing::warn!(%webhook, error = %Chain(&error), "deliveries not read"),
        };
        let mut under_way = JoinSet::new();
        let mut settled = false;
        for delivery in due {
            if under_way.len() >= AT_ONCE
                && let Some(ended) = under_way.join_next().await
            {
                settled |= ended.unwrap_or(false);
            }
            if post.is_quiet(&webhook) {
                break;
            }
            under_way.spawn(one(Arc::clone(&post), delivery));
        }
        while let Some(ended) = under_way.join_next().await {
            settled |= ended.unwrap_or(false);
        }
        // Where nothing could be put away, what is due stays due: not again at once.
        if !settled || post.is_quiet(&webhook) {
            return;
        }
    }
}

/// Whether what came of it is put away.
async fn one(post: Arc<Post>, delivery: Loaded<Delivery>) -> bool {
    let id = delivery.value.id.clone();
    let answer = match attempt::prepare(&post.app, &delivery.value, post.render).await {
        Ok(Some(outgoing)) => {
            let (poster, began) = (Arc::clone(&post.poster), Instant::now());
            let posted = tokio::task::spawn_blocking(move || poster.post(&outgoing)).await;
            if let Some(slow) = &post.passes_over {
                slow.note(&delivery.value.webhook, began.elapsed(), post.app.clock.now());
            }
            posted.unwrap_or(Answer::Unanswered { why: "the post failed" })
        }
        // Disabled or deleted meanwhile.
        Ok(None) => return false,
        Err(error @ Error::Unavailable { .. }) => {
            tracing::warn!(delivery = %id, error = %Chain(&error), "delivery put off");
            return false;
        }
        Err(error) => {
            tracing::error!(delivery = %id, error = %Chain(&error), "delivery not made");
            Answer::Unanswered { why: "stored data is damaged" }
        }
    };
    let webhook = delivery.value.webhook.clone();
    match attempt::settle(&post.app, delivery, &answer).await {
        Ok(settled) => {
            post.note(&webhook, &settled);
            true
        }
        Err(error) => {
            tracing::warn!(delivery = %id, error = %Chain(&error), "what came of a delivery is not put away");
            false
        }
    }
}

impl Post {
    /// Whether nothing is to be posted to it now.
    fn is_quiet(&self, webhook: &WebhookId) -> bool {
        if self.stopping.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.app.clock.now();
        if self.passes_over.as_ref().is_some_and(|slow| slow.knows(webhook, now)) {
            return true;
        }
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.retain(|_, until| now < *until);
        quiet.contains_key(webhook)
    }

    fn note(&self, webhook: &WebhookId, settled: &Settled) {
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = match settled {
            Settled::Dead | Settled::Gone => &mut posts.dead,
            Settled::Delivered => &mut posts.delivered,
            Settled::PutOff { .. } => &mut posts.failed,
            Settled::Overtaken => return,
        };
        *counter = counter.saturating_add(1);
        match settled {
            Settled::Gone => tracing::warn!(%webhook, "webhook disabled: its receiver is gone"),
            Settled::Dead => tracing::warn!(%webhook, "delivery given up"),
            Settled::PutOff { quiet_until: Some(until) } => {
                self.quiet.lock().unwrap_or_else(PoisonError::into_inner).insert(webhook.clone(), *until);
            }
            Settled::Delivered | Settled::Overtaken | Settled::PutOff { quiet_until: None } => {}
        }
    }
}
