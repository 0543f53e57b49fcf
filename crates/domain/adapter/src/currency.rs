//! Currencies by ISO 4217: how many decimals each has.

/// Decimals, and the codes that have so many. With those that were withdrawn in the last fifteen years, for late records.
const DECIMALS: [(u32, &str); 4] = [
    (
        2,
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE \
     CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EEK EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD \
     HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL LTL LVL MAD MDL MGA MKD \
     MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD \
     RUB SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH \
     USD USN UYU UZS VED VEF VES WST XCD XCG YER ZAR ZMW ZWG ZWL",
    ),
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

/// How many decimals a currency has: JPY 0, EUR 2, KWD 3. `None` when it is no currency, or one that has no smallest unit, as gold.
pub(crate) fn decimals(code: &str) -> Option<u32> {
    // The most usual ones first, without a search.
    if matches!(code, "EUR" | "USD" | "GBP") {
        return Some(2);
    }
    let listed = |codes: &str| codes.split(' ').any(|listed| listed.eq_ignore_ascii_case(code));
    DECIMALS.iter().find(|(_, codes)| listed(codes)).map(|(decimals, _)| *decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_has_its_decimals_in_either_case() {
        for (code, expected) in [
            ("EUR", Some(2)),
            ("usd", Some(2)),
            ("JPY", Some(0)),
            ("clp", Some(0)),
            ("KRW", Some(0)),
            ("VND", Some(0)),
            ("ISK", Some(0)),
            ("XOF", Some(0)),
            ("HUF", Some(2)),
            ("TWD", Some(2)),
            ("MGA", Some(2)),
            ("KWD", Some(3)),
            ("BHD", Some(3)),
            ("TND", Some(3)),
            ("CLF", Some(4)),
            ("XAU", None),
            ("XXX", None),
            ("BTC", None),
            ("EURO", None),
            ("", None),
            ("EUR USD", None),
        ] {
            assert_eq!(decimals(code), expected, "{code}");
        }
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut codes: Vec<&str> = DECIMALS.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert!(codes.iter().all(|code| code.len() == 3));
    }
}
