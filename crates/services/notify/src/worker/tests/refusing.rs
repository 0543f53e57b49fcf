//! Destinations that refuse messages, or ask to be left alone.

use super::*;

#[tokio::test]
async fn one_message_that_can_never_go_is_given_up_and_the_next_is_sent() {
    let receiver = Receiver::start(|number| {
        if number == 0 { StatusCode::UNPROCESSABLE_ENTITY.into_response() } else { StatusCode::OK.into_response() }
    })
    .await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    running.workers.give(owed("hook", "b1"));
    running.workers.give(owed("hook", "b2"));
    let told = [running.outcome().await, running.outcome().await];
    assert_eq!((told[0].stage, told[0].status), (DeliveryStage::Failed, 422));
    assert_eq!((told[1].bundle_id.as_str(), told[1].stage), ("b2", DeliveryStage::Delivered));
    assert!(!running.circuit("hook"));
}

#[tokio::test]
async fn a_webhook_that_rejects_five_messages_in_a_row_refuses() {
    let receiver = Receiver::start(|_| StatusCode::BAD_REQUEST.into_response()).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    for number in 0..8 {
        running.workers.give(owed("hook", &format!("b{number}")));
    }
    let mut stages = Vec::new();
    for _ in 0..5 {
        stages.push(running.outcome().await.stage);
    }
    let failed = DeliveryStage::Failed;
    assert_eq!(stages, [failed, failed, failed, failed, DeliveryStage::Attempted]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((receiver.got().len(), running.circuit("hook")), (5, true));
}

#[tokio::test]
async fn any_kind_that_rejects_five_messages_in_a_row_refuses_and_the_rest_stays_owed() {
    let receiver = Receiver::start(|_| StatusCode::BAD_REQUEST.into_response()).await;
    let values = Values::default().with("url", &receiver.url());
    let running = Running::start(vec![destination("cards", "teams", values)]);
    for number in 0..8 {
        running.workers.give(owed("cards", &format!("b{number}")));
    }
    let mut stages = Vec::new();
    for _ in 0..5 {
        stages.push(running.outcome().await.stage);
    }
    let failed = DeliveryStage::Failed;
    assert_eq!(stages, [failed, failed, failed, failed, DeliveryStage::Attempted]);
    assert_eq!((receiver.got().len(), running.circuit("cards")), (5, true));
}

#[tokio::test]
async fn messages_that_are_written_in_part_are_no_sign_of_a_refusal() {
    // HubSpot takes each note, and does not know its contact.
    let receiver = Receiver::start(|number| match number % 2 {
        0 => (StatusCode::OK, r#"{"results":[{"id":"9"}]}"#).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let values = Values::default().with("token", "t").with("api", &format!("http://{}", receiver.address));
    let running = Running::start(vec![destination("notes", "hubspot", values)]);
    for number in 0..7 {
        let id = format!("b{number}");
        let attributes = BTreeMap::from([("contact".to_owned(), "7".to_owned())]);
        let about = Message { attributes, ..message(&id) };
        running.workers.give(PendingDelivery { message: Ok(about), ..owed("notes", &id) });
    }
    for _ in 0..7 {
        let told = running.outcome().await;
        assert_eq!((told.stage, told.status), (DeliveryStage::Failed, 404), "{told:?}");
    }
    assert!(!running.circuit("notes"));
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_left_alone_by_every_message() {
    let receiver = Receiver::start(|number| match number {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    running.workers.give(owed("hook", "b1"));
    running.workers.give(owed("hook", "b2"));
    let mut delivered = 0;
    while delivered < 2 {
        delivered += usize::from(running.outcome().await.stage == DeliveryStage::Delivered);
    }
    let got = receiver.got();
    assert!(got[1..].iter().all(|one| one.at - got[0].at >= Duration::from_millis(990)));
    assert!(!running.circuit("hook"));
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_week_is_shown_as_left_alone_and_the_message_waits_for_it() {
    let week = |_| (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "604800")]).into_response();
    let receiver = Receiver::start(week).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    running.workers.give(owed("hook", "b1"));
    let told = running.outcome().await;
    assert_eq!((told.stage, told.status), (DeliveryStage::Attempted, 503));
    assert!(told.not_before - told.at >= 604_800_000, "{} after {}", told.not_before, told.at);
    assert!(running.circuit("hook"));
}
