//! Both ways with the `standardwebhooks` crate, which shares no code with ours (not even the HMAC).

use hookline_signature::{Request, Scheme, Secret, sign};
use http::HeaderMap;
use proptest::prelude::*;
use standardwebhooks::Webhook;

use crate::delivery::{Delivery, NOW, WHSEC, verifier};

fn wall_clock() -> i64 {
    jiff::Timestamp::now().as_second()
}

proptest! {
    #[test]
    fn what_the_other_library_signs_we_verify(id in "[a-zA-Z0-9_-]{1,40}", body in ".*", time in 0..4_000_000_000_i64) {
        let signature = Webhook::new(WHSEC).unwrap().sign(&id, time, body.as_bytes()).unwrap();
        let headers =
            [("webhook-id", id.as_str()), ("webhook-timestamp", &time.to_string()), ("webhook-signature", &signature)];
        let verdict = Delivery::post(&headers, body.as_bytes()).verify(&verifier(Scheme::StandardWebhooks, WHSEC), time);
        prop_assert_eq!(verdict.unwrap().delivery_id, Some(id));
    }

    #[test]
    fn what_we_sign_the_other_library_verifies(id in "[a-zA-Z0-9_-]{1,40}", body in ".*") {
        let secret = Secret::new("only", WHSEC);
        let headers = sign(&Scheme::StandardWebhooks, &secret, &id, wall_clock(), body.as_bytes()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        prop_assert!(Webhook::new(WHSEC).unwrap().verify(body.as_bytes(), &map).is_ok());
    }
}

#[test]
fn a_closure_over_another_header_map_is_enough() {
    let delivery = Delivery::signed(&Scheme::Dub, &Secret::new("only", "shh"), "msg_1", NOW, b"{}");
    let mut map = HeaderMap::new();
    map.insert("Dub-Signature", delivery.header("dub-signature").parse().unwrap());
    let lookup = |name: &str| map.get(name).map(http::HeaderValue::as_bytes);
    let request = Request { method: "POST", url: "/v1/webhooks/dub", headers: &lookup, body: b"{}" };
    assert_eq!(verifier(Scheme::Dub, "shh").verify(&request, NOW).unwrap().secret_id, "only");
}
