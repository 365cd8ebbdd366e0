//! What a restore would give, read from storage alone.
