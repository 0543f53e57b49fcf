use maxminddb_writer::Database;
use maxminddb_writer::metadata::IpVersion;
use maxminddb_writer::paths::IpAddrWithMask;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// 2026-11-01.
const BUILT: u64 = 1_793_491_200;

fn file(networks: &[(&str, Value)], version: IpVersion) -> Vec<u8> {
    let mut database = Database::default();
    database.metadata.ip_version = version;
    database.metadata.database_type = "Test".to_owned();
    database.metadata.binary_format_major_version = 2;
    database.metadata.build_epoch = BUILT;
    for (network, value) in networks {
        let value = database.insert_value(value).expect("a value");
        database.insert_node(network.parse::<IpAddrWithMask>().expect("a network"), value);
    }
    database.write_to(Vec::new()).expect("memory")
}

fn countries(networks: &[(&str, Value)], version: IpVersion) -> Result<Countries, String> {
    Countries::read(file(networks, version)).map_err(|why| why.to_string())
}

fn of(countries: &Countries, ip: &str) -> &'static str {
    countries.of(ip.parse().expect("an address")).unwrap_or_default()
}

#[test]
fn both_ways_of_naming_a_country_are_read_and_nothing_else_is_one() {
    let networks = [
        ("198.51.100.0/24", json!({"country": {"iso_code": "DE"}, "continent": {"code": "EU"}})),
        ("203.0.113.0/24", json!({"country_code": "UK"})),
        ("192.0.2.0/24", json!({"country": {"iso_code": "T1"}})),
        ("192.0.3.0/24", json!({"country": "France"})),
        ("192.0.4.0/24", json!({"registered_country": {"iso_code": "FR"}})),
    ];
    let countries = countries(&networks, IpVersion::V4).unwrap();
    assert_eq!((countries.built(), countries.line.as_str()), (BUILT, "country:mmdb:2026-11-01"));
    for (ip, country) in [
        ("198.51.100.7", "DE"),
        ("::ffff:198.51.100.7", "DE"),
        ("203.0.113.255", "GB"),
        ("192.0.2.1", ""),
        ("192.0.3.1", ""),
        ("192.0.4.1", ""),
        ("8.8.8.8", ""),
        ("2001:db8::1", ""),
    ] {
        assert_eq!(of(&countries, ip), country, "{ip}");
    }
}

#[test]
fn networks_of_ipv6_have_countries_too() {
    let countries = countries(&[("2001:db8::/32", json!({"country_code": "fr"}))], IpVersion::V6).unwrap();
    assert_eq!((of(&countries, "2001:db8::1"), of(&countries, "2001:db9::1")), ("FR", ""));
}

#[test]
fn what_is_not_such_a_file_is_refused_in_words() {
    let whole = file(&[("198.51.100.0/24", json!({"country_code": "DE"}))], IpVersion::V4);
    for bytes in [&b""[..], b"link,kind\n", &whole[..whole.len() / 2]] {
        let why = Countries::read(bytes.to_vec()).unwrap_err().to_string();
        assert!(why.starts_with("it is not an MMDB file, or a part of one: "), "{why}");
    }
    let networks = json!({"autonomous_system_number": 64_496});
    let why = countries(&[("198.51.100.0/24", networks)], IpVersion::V4).unwrap_err();
    assert!(why.contains("of the type \"Test\" that names no country"), "{why}");
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), ip: u32) {
        let mut bytes = file(&[("0.0.0.0/1", json!({"country_code": "DE"}))], IpVersion::V4);
        for (at, byte) in cuts {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(countries) = Countries::read(bytes) {
            let _ = countries.of(IpAddr::from(ip.to_be_bytes()));
        }
    }
}
