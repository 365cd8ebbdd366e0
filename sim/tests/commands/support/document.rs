//! Documents that commands write.

use std::fs;
use std::path::Path;

/// Asserts that a file of the repository is this text; with `CUTLINE_BLESS=1` it is from now on.
pub(crate) fn is_document(path: &Path, text: &str) {
    if std::env::var_os("CUTLINE_BLESS").is_some() {
        fs::write(path, text).expect("the repository can be written to");
    }
    let documented = fs::read_to_string(path).expect("part of the repository");
    assert_eq!(documented, text, "CUTLINE_BLESS=1 writes {}", path.display());
}
