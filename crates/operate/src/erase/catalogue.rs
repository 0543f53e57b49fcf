//! The topic `links`, which is compacted: what it says of a link is taken away by records without a value.

use std::collections::BTreeMap;
use std::convert::Infallible;

use event::Erasure;
use kafka::Topic;
use kafka::lane::{Fence, NO_HEADERS, TRANSACTION_TIMEOUT, Writes, read_all_committed};

use crate::{Installation, Result, blocking};

/// The transactional id under which they are written.
const WRITER: &str = "hookline-erase";

/// The keys on the topic of what is said of the link of an erasure, under any of its names.
pub(super) async fn keys(installation: &Installation, erasure: &Erasure, names: &[String]) -> Result<Vec<String>> {
    let (cluster, erasure, names) = (installation.cluster.clone(), erasure.clone(), names.to_vec());
    blocking(move || {
        let mut said = BTreeMap::<String, bool>::new();
        read_all_committed::<Infallible>(&cluster, Topic::Links, 0, None, None, |record| {
            let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
            let is_it = |link: &str| erasure.is_link(link) || names.iter().any(|name| name == link);
            if key.split_once(' ').is_some_and(|(_, link)| is_it(link)) {
                said.insert(key, record.payload().is_some());
            }
            Ok(())
        })?;
        Ok(said.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect())
    })
    .await
}

/// Takes away what the topic says under these keys.
pub(super) async fn erase(installation: &Installation, keys: &[String]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (cluster, keys) = (installation.cluster.clone(), keys.to_vec());
    blocking(move || {
        let mut writer = Fence::open_id(&cluster, WRITER, TRANSACTION_TIMEOUT, Writes::records([(Topic::Links, 0)]))?;
        writer.begin()?;
        for key in &keys {
            writer.send(Topic::Links, 0, Some(key.as_bytes()), None, NO_HEADERS)?;
        }
        writer.commit(WRITER, &[])?;
        Ok(())
    })
    .await
}
