//! Responses that follow a recommendation: people are told, and what takes more than one write is carried out. What stops
//! somebody at once was done with the recommendation itself.

use super::Function;
use super::events::{BatchAnswer, QueueEvent, QueueMessage};
use aegis_aws::alerts::Alerts;
use aegis_core::error::{Cause, Chain, Error};
use aegis_core::recommendation::{AgentRecommendation, RecommendationRecord, ResponseAction};
use aegis_core::repository::{self, Loaded};
use aegis_core::response;
use std::sync::Arc;

/// # Errors
/// None of its own.
pub async fn answer(function: Arc<Function>, batch: QueueEvent) -> Result<BatchAnswer, Cause> {
    let mut answer = BatchAnswer::default();
    for message in &batch.records {
        let Some(recommendation) = read(message, &mut answer) else { continue };
        let done = tell(&function, &recommendation).await;
        if let Err(error) = done {
            tracing::error!(error = %Chain(&error), "an alert was not sent, to be tried again");
            answer.again(&message.message_id);
        }
    }
    let followed = match function.whole().await {
        Ok(whole) => response::run_pending(&whole.host.app, response::AtBackEnds::Leaves).await.map(|_| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = followed {
        // Not lost: what is pending is looked for each minute.
        tracing::error!(error = %Chain(&error), "responses left pending");
    }
    Ok(answer)
}

fn read(message: &QueueMessage, answer: &mut BatchAnswer) -> Option<AgentRecommendation> {
    let read = message.event().and_then(|event| serde_json::from_value(event.detail));
    answer.read(message, read)
}

/// Where a rule ordered it. To be told twice is better than not at all.
async fn tell(function: &Function, recommendation: &AgentRecommendation) -> Result<(), Error> {
    let store = function.store();
    let item = repository::recommendation_item(&recommendation.id);
    let found: Option<Loaded<RecommendationRecord>> = repository::load(&store, &item).await?;
    let Some(RecommendationRecord { responses, record, .. }) = found.map(|found| found.value) else { return Ok(()) };
    let topic = function.settings.alert_topic.clone();
    let Some(topic) = topic.filter(|_| responses.iter().any(|done| done.action == ResponseAction::Alert)) else {
        return Ok(());
    };
    let who = recommendation.agent.as_ref().map_or(recommendation.sponsor.as_str(), |agent| agent.as_str());
    let (detector, severity) = (recommendation.detector.as_str(), recommendation.severity.as_str());
    let body = serde_json::json!({ "recommendation": recommendation, "record": record, "responses": responses });
    let alerts = Alerts::new(aegis_aws::sns(&function.aws), topic);
    alerts.tell(&format!("Aegis: {detector} ({severity}) by {who}"), &body.to_string()).await
}

#[cfg(test)]
mod tests {
    use super::super::events::testing::{again, batch, on_bus, unreadable};
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_cannot_be_read_comes_again_and_of_the_rest_people_are_told() {
        let found = include_str!("../../../events/samples/agent-recommendation.json");
        let found: Value = serde_json::from_str(found).unwrap();
        let mut bodies = unreadable().to_vec();
        bodies.push(on_bus("AgentRecommendation", &found));
        let (batch, mut answer) = (batch(&bodies), BatchAnswer::default());
        let read: Vec<_> = batch.records.iter().filter_map(|message| read(message, &mut answer)).collect();
        assert_eq!(answer, again(&[0, 1, 2, 3]));
        assert_eq!(read.len(), 1);
    }
}
