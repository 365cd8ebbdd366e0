//! The binary form of states, channel states and metadata.
//!
//! Little endian; integers that are mostly small are LEB128 varints. Every blob that reaches the
//! storage is sealed: a magic number says what it is, a version how to read it, a length whether
//! all of it is there, and a checksum over the whole whether it is still what was written. Damaged bytes give an error by
//! name, never a panic and never an allocation beyond what the bytes can justify.

use xxhash_rust::xxh3::xxh3_64;

/// Magic, version, length of the body.
const HEADER: usize = LENGTH + 8;
const LENGTH: usize = 4 + 1;

/// Why bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a blob of the kind that was expected.
    #[error("bad magic: expected {expected:?}, found {found:?}")]
    BadMagic {
        /// What the reader was made for.
        expected: [u8; 4],
        /// What is there.
        found: [u8; 4],
    },
    /// Written by another version of the format.
    #[error("format version {found}, this version reads {known}")]
    OtherVersion {
        /// The version in the bytes.
        found: u8,
        /// The only version that is read.
        known: u8,
    },
    /// The bytes are not those that were written.
    #[error("checksum mismatch: the bytes say {stored:#018x}, they give {computed:#018x}")]
    ChecksumMismatch {
        /// The checksum in the bytes.
        stored: u64,
        /// The checksum of the bytes.
        computed: u64,
    },
    /// The bytes end too early.
    #[error("truncated at byte {at}: {needed} bytes are needed, {left} are left")]
    Truncated {
        /// Position of the reader: in the body, or in the blob where its frame is cut.
        at: usize,
        /// How many bytes the value takes.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// Bytes are left when everything was read.
    #[error("{bytes} trailing bytes at byte {at}")]
    TrailingBytes {
        /// Position of the first of them.
        at: usize,
        /// How many.
        bytes: usize,
    },
    /// A value that no writer writes.
    #[error("invalid {what} before byte {at}")]
    Invalid {
        /// What the value was to be.
        what: &'static str,
        /// Position behind it.
        at: usize,
    },
}

/// The checksum of all blobs and files: XXH3, 64 bits.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Writes one sealed blob.
#[derive(Debug)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// A blob of this kind and version, without a body yet.
    pub fn new(magic: [u8; 4], version: u8) -> Self {
        let mut bytes = magic.to_vec();
        bytes.push(version);
        bytes.extend_from_slice(&[0; HEADER - LENGTH]);
        Self { bytes }
    }

    /// Seals the blob with its length and checksum.
    pub fn seal(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - HEADER) as u64;
        self.bytes[LENGTH..HEADER].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Yes or no, in one byte.
    #[inline]
    pub fn flag(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// An integer in 1 to 10 bytes, fewer for smaller ones.
    #[inline]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// An integer in 8 bytes: for hashes, which are never small.
    #[inline]
    pub fn fixed(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A length and so many bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// A length and so many bytes of UTF-8.
    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }
}

/// Reads the body of one sealed blob.
#[derive(Debug)]
pub struct Decoder<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// Opens a blob that must be of this kind and version.
    ///
    /// # Errors
    /// Bad magic, another version, truncated, trailing bytes, checksum mismatch; looked for in this
    /// order, so that a file of another kind or version is called that, and not damaged.
    pub fn open(blob: &'a [u8], magic: [u8; 4], version: u8) -> Result<Self, DecodeError> {
        let mut header = Self { body: blob, at: 0 };
        let found: [u8; 4] = header.take(4)?.try_into().expect("four bytes were taken");
        if found != magic {
            return Err(DecodeError::BadMagic { expected: magic, found });
        }
        let found = header.byte()?;
        if found != version {
            return Err(DecodeError::OtherVersion { found, known: version });
        }
        let length = usize::try_from(header.fixed()?).unwrap_or(usize::MAX);
        let body = header.take(length)?;
        let sealed = &blob[..header.at];
        let (stored, computed) = (header.fixed()?, checksum(sealed));
        header.end()?;
        if stored != computed {
            return Err(DecodeError::ChecksumMismatch { stored, computed });
        }
        Ok(Self { body, at: 0 })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Bytes are left.
    pub fn end(self) -> Result<(), DecodeError> {
        match self.body.len() - self.at {
            0 => Ok(()),
            bytes => Err(DecodeError::TrailingBytes { at: self.at, bytes }),
        }
    }

    /// The error for a value that was read but makes no sense.
    pub fn invalid(&self, what: &'static str) -> DecodeError {
        DecodeError::Invalid { what, at: self.at }
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.body.len() - self.at;
        if needed > left {
            return Err(DecodeError::Truncated { at: self.at, needed, left });
        }
        let taken = &self.body[self.at..self.at + needed];
        self.at += needed;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// Truncated.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// Yes or no.
    ///
    /// # Errors
    /// Truncated, or neither 0 nor 1.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid("flag")),
        }
    }

    /// An integer as [`Encoder::varint`] writes it.
    ///
    /// # Errors
    /// Truncated, or longer than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.invalid("integer"))
    }

    /// A varint that must fit 32 bits.
    ///
    /// # Errors
    /// Truncated, or larger.
    #[inline]
    pub fn varint32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| self.invalid("32-bit integer"))
    }

    /// An integer as [`Encoder::fixed`] writes it.
    ///
    /// # Errors
    /// Truncated.
    #[inline]
    pub fn fixed(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    /// How many elements follow, each of at least `bytes_min` bytes: a count that the rest of the
    /// body cannot hold is refused before anything is allocated for it.
    ///
    /// # Errors
    /// Truncated.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        let left = self.body.len() - self.at;
        let needed = usize::try_from(count).ok().and_then(|n| n.checked_mul(bytes_min.max(1)));
        match needed {
            Some(needed) if needed <= left => Ok(needed / bytes_min.max(1)),
            _ => Err(DecodeError::Truncated {
                at: self.at,
                needed: needed.unwrap_or(usize::MAX),
                left,
            }),
        }
    }

    /// Elements, each of at least `bytes_min` bytes, behind their count.
    ///
    /// # Errors
    /// Truncated, or an element is refused.
    pub fn list<T>(
        &mut self,
        bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(bytes_min)?;
        // Collecting results would grow the vector step by step: an error may end it anywhere.
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// A length and so many bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// A length and so many bytes of UTF-8.
    ///
    /// # Errors
    /// Truncated, or no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.invalid("text"))
    }
}

/// Damages for the tests of everything that decodes.
#[cfg(test)]
pub(crate) mod damage {
    use proptest::prelude::*;

    use super::{HEADER, LENGTH, checksum};

    const CHECKSUM: usize = 8;

    /// A damage: where (modulo the length), what, and whether length and checksum are made to fit
    /// again, so that the reader behind them is tested too.
    #[derive(Clone, Debug)]
    pub(crate) struct Damage {
        at: usize,
        how: How,
        sealed_again: bool,
    }

    #[derive(Clone, Debug)]
    enum How {
        Flip(u8),
        Cut,
        Insert(Vec<u8>),
    }

    pub(crate) fn damage() -> impl Strategy<Value = Damage> {
        let how = prop_oneof![
            3 => (1_u8..).prop_map(How::Flip),
            1 => Just(How::Cut),
            1 => prop::collection::vec(any::<u8>(), 1..12).prop_map(How::Insert),
        ];
        (any::<usize>(), how, any::<bool>()).prop_map(|(at, how, sealed_again)| Damage {
            at,
            how,
            sealed_again,
        })
    }

    impl Damage {
        /// The damaged blob, and whether a reader can be expected to notice for certain.
        pub(crate) fn apply(&self, blob: &[u8]) -> (Vec<u8>, bool) {
            let mut bytes = blob.to_vec();
            let at = self.at % bytes.len();
            match &self.how {
                How::Flip(bits) => bytes[at] ^= bits,
                How::Cut => bytes.truncate(at),
                How::Insert(inserted) => {
                    bytes.splice(at..at, inserted.iter().copied());
                }
            }
            if self.sealed_again && bytes.len() >= HEADER + CHECKSUM {
                let body = bytes.len() - CHECKSUM;
                let length = (body - HEADER) as u64;
                bytes[LENGTH..HEADER].copy_from_slice(&length.to_le_bytes());
                let sum = checksum(&bytes[..body]);
                bytes[body..].copy_from_slice(&sum.to_le_bytes());
                return (bytes, false);
            }
            (bytes, true)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    fn blob(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut encoder = Encoder::new(MAGIC, 3);
        write(&mut encoder);
        encoder.seal()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec(any::<u64>(), 0..20),
            shift in 0_u32..64,
            text in ".{0,20}",
            flag: bool,
        ) {
            let bytes = blob(|out| {
                out.varint(numbers.len() as u64);
                for number in &numbers {
                    out.varint(number >> shift);
                    out.fixed(*number);
                }
                out.text(&text);
                out.flag(flag);
            });
            let mut input = Decoder::open(&bytes, MAGIC, 3)?;
            for _ in 0..input.count(9)? {
                let small = input.varint()?;
                prop_assert_eq!(small, input.fixed()? >> shift);
            }
            prop_assert_eq!(input.text()?, &text);
            prop_assert_eq!(input.flag()?, flag);
            input.end()?;
        }
    }

    #[test]
    fn every_damage_has_its_name() {
        let good = blob(|out| out.varint(7));
        let mut flipped = good.clone();
        flipped[HEADER] ^= 1;
        let longer = [&good[..], &[0]].concat();
        let cases: [(&str, &[u8], &str); 8] = [
            ("nothing", &[], "truncated at byte 0: 4 bytes"),
            ("other kind", b"FLNK\x03", "bad magic"),
            ("other version", b"TEST\x04", "format version 4, this version reads 3"),
            ("cut in the header", b"TEST\x03", "truncated at byte 5: 8 bytes"),
            ("cut in the body", &good[..HEADER], "truncated at byte 13: 1 bytes"),
            ("cut in the checksum", &good[..good.len() - 1], "truncated at byte 14: 8 bytes"),
            ("longer", &longer, "1 trailing bytes at byte 22"),
            ("flipped", &flipped, "checksum mismatch"),
        ];
        for (name, bytes, expected) in cases {
            let message = Decoder::open(bytes, MAGIC, 3).map(|_| ()).expect_err(name).to_string();
            assert!(message.starts_with(expected), "{name}: {message}");
        }
    }

    #[test]
    fn bodies_are_not_trusted() {
        let huge = blob(|out| out.varint(u64::MAX));
        let mut input = Decoder::open(&huge, MAGIC, 3).expect("sealed");
        assert!(matches!(input.count(16), Err(DecodeError::Truncated { .. })));

        let overlong = blob(|out| (0..11).for_each(|_| out.byte(0xff)));
        let mut input = Decoder::open(&overlong, MAGIC, 3).expect("sealed");
        assert_eq!(input.varint(), Err(DecodeError::Invalid { what: "integer", at: 10 }));

        let more = blob(|out| out.fixed(1));
        let input = Decoder::open(&more, MAGIC, 3).expect("sealed");
        assert_eq!(input.end(), Err(DecodeError::TrailingBytes { at: 0, bytes: 8 }));
    }
}
