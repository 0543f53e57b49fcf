//! What the Kafka user must be allowed to do, and which right is missing where a broker refuses.
//!
//! docs/operations.md has the whole set; `tests/pipeline/secured.rs` takes each away in turn.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What was tried when a broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// To read records, or where they begin and end.
    Read,
    /// To write records.
    Write,
    /// To create topics.
    Create,
    /// To delete topics.
    Delete,
    /// To look at the settings of topics.
    LookAtSettings,
}

/// The right that is missing, as the end of a sentence; empty where a broker refuses for another reason.
pub(crate) fn missing(code: Option<RDKafkaErrorCode>, tried: Tried) -> String {
    let (right, of) = match (code, tried) {
        (Some(RDKafkaErrorCode::GroupAuthorizationFailed), _) => ("Read", "groups that begin with \"hookline-\""),
        (Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed), _) => {
            ("Write", "transactional ids that begin with \"hookline-\"")
        }
        // A user that may create topics in the whole cluster may create ours, so the cluster's refusal is about topics,
        // too.
        (Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed), tried) => {
            let right = match tried {
                Tried::Read => "Read",
                Tried::Write => "Write",
                Tried::Create => "Create",
                Tried::Delete => "Delete",
                Tried::LookAtSettings => "DescribeConfigs",
            };
            (right, "topics that begin with \"hookline.\"")
        }
        _ => return String::new(),
    };
    format!("; the Kafka user lacks the right {right} on {of}: docs/operations.md, \"Rights in Kafka\"")
}

/// As [`missing`], of the client's own error.
pub(crate) fn missing_by(error: &KafkaError, tried: Tried) -> String {
    // The client does not count the code of an answer to an administrator among its codes.
    let code = match error {
        KafkaError::AdminOp(code) => Some(*code),
        KafkaError::Transaction(error) => Some(error.code()),
        other => other.rdkafka_error_code(),
    };
    missing(code, tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_one_right_and_no_other_error_does() {
        let topic = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert!(missing(topic, Tried::Write).contains("lacks the right Write on topics that begin with \"hookline.\""));
        assert!(missing(topic, Tried::LookAtSettings).contains("DescribeConfigs"));
        let group = Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        assert!(missing(group, Tried::Write).contains("right Read on groups"));
        let id = Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
        assert!(missing(id, Tried::Write).contains("right Write on transactional ids"));
        assert_eq!(missing(Some(RDKafkaErrorCode::RequestTimedOut), Tried::Write), "");
        assert_eq!(missing(None, Tried::Read), "");
        // As the brokers answer a question about settings.
        let settings = KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert!(missing_by(&settings, Tried::LookAtSettings).contains("lacks the right DescribeConfigs on topics"));
    }
}
