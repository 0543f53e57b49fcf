//! One link in several spellings is one link: what browsers take for the same address is written in one way.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A slug as people read it: percent-decoded where it is text, and triplets in upper case where decoding would make another
/// address of it (`%2F` is no slash). A percent sign that begins no triplet is one all the same.
pub(crate) fn slug(text: Cow<'_, str>) -> Cow<'_, str> {
    rewritten(text, |letter| !letter.is_control() && !"/?#%\\".contains(letter))
}

/// A path of a URL that was parsed, so that what must be encoded is: what need not be is decoded.
pub(crate) fn path(text: &str) -> Cow<'_, str> {
    rewritten(text.into(), |letter| letter.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@|[]^".contains(letter))
}

/// The text with those triplets decoded whose letter is to be `plain`, all others in upper case.
fn rewritten(text: Cow<'_, str>, plain: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains('%') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('%') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let triplets = triplets(from);
        if triplets == 0 {
            out.push_str("%25");
            rest = &from[1..];
            continue;
        }
        let (encoded, after) = from.split_at(triplets * 3);
        let bytes: Vec<u8> = percent_decode_str(encoded).collect();
        for chunk in bytes.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match plain(letter) {
                    true => out.push(letter),
                    false => encode(letter.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
                }
            }
            encode(chunk.invalid(), &mut out);
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// How many triplets a text begins with.
fn triplets(text: &str) -> usize {
    let is_triplet = |three: &&[u8; 3]| three[0] == b'%' && three[1..].iter().all(u8::is_ascii_hexdigit);
    text.as_bytes().as_chunks::<3>().0.iter().take_while(is_triplet).count()
}

fn encode(bytes: &[u8], out: &mut String) {
    bytes.iter().for_each(|byte| out.push_str(percent_encoding::percent_encode_byte(*byte)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_a_slug_becomes_one() {
        for (spellings, one) in [
            (["café", "caf%C3%A9", "caf%c3%a9", "%63af%c3%A9"], "café"),
            (["a b", "a%20b", "a%20%62", "%61 b"], "a b"),
            (["a%2fb", "a%2Fb", "%61%2fb", "a%2F%62"], "a%2Fb"),
            (["100%", "100%25", "%3100%", "10%30%25"], "100%25"),
            (["a%ff", "a%FF", "%61%ff", "%61%fF"], "a%FF"),
            (["x(1)", "x%281%29", "x(%31)", "x%28%31)"], "x(1)"),
            (["%0a", "%0A", "%0a", "%0A"], "%0A"),
        ] {
            for spelling in spellings {
                assert_eq!(slug(spelling.into()), one, "{spelling}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_in_one_way_stays_as_it_is(text in "[a-zé%0-9A-Fa-f/?#\\\\ ]{0,24}") {
            let once = slug(text.as_str().into()).into_owned();
            prop_assert_eq!(slug(once.as_str().into()), once.as_str());
            let once = path(&text).into_owned();
            prop_assert_eq!(path(&once), once.as_str());
        }

        #[test]
        fn a_slug_that_is_encoded_is_the_one_that_is_not(text in "[^%/?#\\\\\\p{Cc}]{0,24}") {
            let encoded: String = percent_encoding::percent_encode(text.as_bytes(), percent_encoding::NON_ALPHANUMERIC).collect();
            prop_assert_eq!(slug(encoded.as_str().into()), text.as_str());
            prop_assert_eq!(slug(encoded.to_lowercase().as_str().into()).to_lowercase(), text.to_lowercase());
        }
    }
}
