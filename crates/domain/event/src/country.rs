//! Countries by ISO 3166-1 alpha-2.

/// The 249 codes that are assigned.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
     CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO \
     FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE \
     JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO \
     MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
     PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM \
     TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// For each first letter, the second ones that make a code with it, as bits.
const SECOND: [u32; 26] = {
    let mut second = [0; 26];
    let codes = CODES.as_bytes();
    let mut at = 0;
    while at + 1 < codes.len() {
        second[(codes[at] - b'A') as usize] |= 1 << (codes[at + 1] - b'A');
        at += 3;
    }
    second
};

/// Whether two bytes are a code, in upper case.
pub fn is_code(first: u8, second: u8) -> bool {
    first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && SECOND[usize::from(first - b'A')] & (1 << (second - b'A')) != 0
}

/// The code that a text means. Case does not matter; UK is GB, and EL, as the European Union writes it, is GR: neither is a
/// code of another country.
pub fn read(text: &str) -> Option<&'static str> {
    let upper = match text.as_bytes() {
        [first, second] => [first.to_ascii_uppercase(), second.to_ascii_uppercase()],
        _ => return None,
    };
    match &upper {
        b"UK" => Some("GB"),
        b"EL" => Some("GR"),
        [first, second] if is_code(*first, *second) => {
            let (codes, _) = CODES.as_bytes().as_chunks::<3>();
            // The last code has no blank behind it.
            let at = codes.binary_search_by(|code| code[..2].cmp(&upper)).unwrap_or(codes.len());
            CODES.get(at * 3..at * 3 + 2)
        }
        _ => None,
    }
}

/// Whether a text is a code by which platforms say that they do not know.
pub fn is_nowhere(text: &str) -> bool {
    ["XX", "ZZ"].iter().any(|nowhere| nowhere.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_pairs_of_letters_the_249_codes_are_read_in_either_case_and_two_more() {
        let letters = || b'A'..=b'Z';
        let pairs = || letters().flat_map(|first| letters().map(move |second| [first, second]));
        let text = |pair: [u8; 2]| String::from_utf8(pair.to_vec()).expect("letters");
        assert_eq!(pairs().filter(|pair| is_code(pair[0], pair[1])).count(), 249);
        let others: Vec<String> = pairs()
            .map(text)
            .filter(|code| read(code).is_some_and(|read| read != code) || read(code) != read(&code.to_lowercase()))
            .collect();
        assert_eq!(others, ["EL", "UK"]);
        assert_eq!(pairs().map(text).filter(|code| read(code).is_some()).count(), 251);
        for none in ["", "D", "DEU", "T1", "1A", "{A", "@B", "é"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
