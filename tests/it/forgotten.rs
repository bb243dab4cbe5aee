//! A test file that `main.rs` does not name would never run and never be missed.

use std::fs;
use std::path::Path;

#[test]
fn every_test_file_is_listed() {
    for suite in ["it", "real"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(suite);
        let main = fs::read_to_string(folder.join("main.rs")).expect("main.rs is there");
        let listed = |name: &str| {
            main.lines()
                .any(|line| line.trim().trim_start_matches("pub ") == format!("mod {name};"))
        };
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let name = entry.expect("an entry").file_name().into_string().expect("a UTF-8 name");
            let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "main") else {
                continue;
            };
            assert!(listed(name), "tests/{suite}/{name}.rs is not in tests/{suite}/main.rs");
        }
    }
}
