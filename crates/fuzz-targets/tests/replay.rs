//! Every input that fuzzing has kept, and every golden payload, once more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics says what broke")]

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_holds() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, target) in hookline_fuzz_targets::TARGETS {
        let inputs = files(&seeds.join(name));
        assert!(!inputs.is_empty(), "{name} has no seeds");
        for input in inputs {
            let data = fs::read(&input).unwrap();
            let held = std::panic::catch_unwind(|| target(&data));
            assert!(held.is_ok(), "{} does not hold any more", input.display());
        }
    }
}

#[test]
fn every_golden_payload_holds_in_every_adapter_and_as_every_content_type() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/adapter/tests/golden");
    let adapters = adapter::Adapter::ALL.len() as u8;
    for folder in fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()) {
        for payload in files(&folder) {
            let body = fs::read(payload).unwrap();
            for (adapter, content_type, headers) in
                (0..adapters).flat_map(|a| (0..6).flat_map(move |c| (0..2).map(move |h| (a, c, h))))
            {
                let mut data = vec![b'0' + adapter, b'0' + content_type, b'0' + headers];
                data.extend_from_slice(&body);
                hookline_fuzz_targets::adapters(&data);
            }
        }
    }
}
