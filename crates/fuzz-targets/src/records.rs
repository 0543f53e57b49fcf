//! Records of topics: read from any bytes, and what was read is written and read again as the same.

use dedupe::changelog;
use event::raw::RawHeaders;
use event::wire::Ids;
use event::{Alert, Cut, Delivery, LinkEvent, Progress, SignalBatch};

use crate::pick;

/// Names and values of headers, each ended by a zero byte.
pub fn raw_headers(data: &[u8]) {
    let mut fields = data.split(|byte| *byte == 0);
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let Ok(name) = std::str::from_utf8(name) else { return };
        headers.push((name, value));
    }
    let _: Option<Cut> = Cut::from_headers(headers.iter().copied());
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(progress) = text.parse::<Progress>()
    {
        assert_eq!(progress.to_string().parse(), Ok(progress));
    }
    let Ok(read) = RawHeaders::from_headers(headers.iter().copied()) else { return };
    // Control characters become spaces on the way out, so what was read once is the measure.
    let written = read.to_headers();
    let again = RawHeaders::from_headers(written.iter().map(|(name, value)| (name.as_ref(), value.as_slice())));
    let again = again.expect("what is written is read");
    let twice = again.to_headers();
    assert_eq!(twice, written);
    assert_eq!((again.received_at, again.ordinal), (read.received_at, read.ordinal));
    assert_eq!((&again.quarantine, &again.redrive_of), (&read.quarantine, &read.redrive_of));
}

/// One byte chooses the record; the rest is its Avro.
pub fn avro(data: &[u8]) {
    let [which, bytes @ ..] = data else { return };
    macro_rules! read {
        ($type:ident) => {
            |bytes: &[u8]| {
                let _: Result<$type<'_>, _> = $type::from_wire(&Ids::FIXED, bytes);
                let Ok(read) = $type::decode(bytes) else { return };
                let mut written = Vec::new();
                read.encode(&mut written);
                assert_eq!($type::decode(&written).as_ref(), Ok(&read), "written and read");
                let mut framed = Vec::new();
                read.write(&Ids::FIXED, &mut framed);
                assert_eq!($type::from_wire(&Ids::FIXED, &framed).as_ref(), Ok(&read), "framed and read");
            }
        };
    }
    let records: [fn(&[u8]); 4] = [read!(LinkEvent), read!(SignalBatch), read!(Alert), read!(Delivery)];
    pick(&records, *which)(bytes);
}

/// A record of `seen`: as it stands, and with the version and the checksum that it should have.
pub fn changelog(data: &[u8]) {
    let _: Result<_, _> = changelog::decode(data);
    let mut value = vec![1, 0, 0, 0, 0];
    value.extend_from_slice(data);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&value[..1]), &value[5..]);
    value[1..5].copy_from_slice(&checksum.to_le_bytes());
    let Ok(read) = changelog::decode(&value) else { return };
    assert!(read.raw_lo <= read.raw_hi);
    assert!(read.entries.iter().all(|entry| (read.raw_lo..read.raw_hi).contains(&entry.offset)));
    assert!(read.entries.is_sorted_by(|a, b| a.offset < b.offset));
    let written = changelog::encode(read.raw_lo, read.raw_hi, &read.entries).expect("what was read can be written");
    let [written] = written.as_slice() else { panic!("one record became {}", written.len()) };
    assert_eq!(changelog::decode(written), Ok(read));
}
