//! Structural bitmaps: one bit a byte of a JSON text, 64 bytes at a time, set where one of `{ } [ ] : ,`
//! stands outside strings. All that a walk then has to look at lies between two of them.
//!
//! What can be told from neighbouring bits is checked here: escapes, control characters, ends of strings,
//! tokens that nothing parts. The order of tokens, numbers and words is the walk's matter. It says only
//! that a text is bad, not where; UTF-8 is checked before it.
//!
//! The only file of the crate with `unsafe`: two calls and a load, whose proofs stand beside them. So the search for
//! the end of a string, which `scan` is made of, is here too.

use super::escapes::unicode_escape;

/// Bytes of a block: as many as a word has bits.
pub(super) const BLOCK: usize = 64;

/// Most blocks whose room is kept from one text to the next: those of 64 KiB.
const MAX_KEPT: usize = 1_024;

/// Room for bitmaps, used again from text to text. They take an eighth of a text's size.
#[derive(Debug, Default)]
pub(super) struct Bitmaps {
    blocks: Vec<Block>,
}

/// The bitmaps of one text.
#[derive(Clone, Copy)]
pub(super) struct Structure<'b> {
    pub(super) blocks: &'b [Block],
    /// From the block of the first backslash to behind that of the last one.
    pub(super) escapes: (usize, usize),
    /// Whether there is white space outside strings.
    pub(super) has_white: bool,
}

/// What a walk sees of 64 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// `{ } [ ] : ,` outside strings.
    pub(super) op: u64,
}

/// The bytes of a block by what they are, wherever they stand.
struct Classes {
    quote: u64,
    /// `{ } [ ] : ,`, and perhaps control characters.
    op: u64,
    space: u64,
    /// Whether there is anything of `Rare`.
    is_rare: bool,
}

/// What few blocks hold.
struct Rare {
    backslash: u64,
    /// Below 0x20.
    control: u64,
    /// Those of them that are white space.
    white: u64,
}

/// What a block has to know of those before it, in the lowest bit unless something else is said.
#[derive(Clone, Copy, Default)]
struct Carry {
    /// All bits if a string goes on.
    within: u64,
    /// The last byte ended a string.
    closed: u64,
    /// The last byte was structural or white, or there was none.
    gap: u64,
    /// The next byte is escaped.
    escaped: u64,
    /// White space behind a value goes on.
    white: u64,
    /// Not 0 once something was wrong.
    bad: u64,
    /// Up to here escapes are known to be good: a pair of surrogates is read as one.
    unescaped: usize,
    /// From the block of the first backslash to behind that of the last one.
    escapes: (usize, usize),
    /// There was white space outside strings.
    has_white: bool,
}

impl Structure<'_> {
    /// Whether there may be a backslash between two places.
    #[inline(always)]
    pub(super) fn may_have_escapes(&self, start: usize, end: usize) -> bool {
        start < self.escapes.1 && end > self.escapes.0
    }
}

impl Bitmaps {
    /// Those of a text; `None` if something is wrong with it.
    #[inline]
    pub(super) fn of(&mut self, text: &[u8]) -> Option<Structure<'_>> {
        let count = text.len().div_ceil(BLOCK);
        if self.blocks.len() > MAX_KEPT && count <= MAX_KEPT {
            self.blocks = Vec::new();
        }
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::default());
        }
        let blocks = self.blocks.get_mut(..count)?;
        let Carry { bad, within, escapes, has_white, .. } = fill(text, blocks);
        (bad == 0 && within == 0).then_some(Structure { blocks, escapes, has_white })
    }
}

#[cfg(target_arch = "x86_64")]
fn fill(text: &[u8], blocks: &mut [Block]) -> Carry {
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("pclmulqdq")
    {
        // SAFETY: a function that enables features must run only where the processor has them, and the
        // lines above have just asked it for all three. It is given nothing but references.
        #[expect(unsafe_code, reason = "the proof stands above")]
        unsafe {
            avx2::fill(text, blocks)
        }
    } else {
        portable::fill(text, blocks)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fill(text: &[u8], blocks: &mut [Block]) -> Carry {
    portable::fill(text, blocks)
}

/// Whether both ways find the same in a text.
#[cfg(test)]
pub(super) fn both_agree(text: &[u8]) -> bool {
    let read = |fill: fn(&[u8], &mut [Block]) -> Carry| {
        let mut blocks = vec![Block::default(); text.len().div_ceil(BLOCK)];
        let carry = fill(text, &mut blocks);
        let blocks: Vec<_> = blocks.iter().map(|block| block.op).collect();
        let is_good = carry.bad == 0;
        is_good.then_some((blocks, carry.within, carry.escapes, carry.has_white))
    };
    let plainly = |block: &[u8]| block.iter().position(|it| matches!(it, b'"' | b'\\' | ..0x20));
    let (ours, _) = text.as_chunks();
    let (portable, _) = text.as_chunks();
    let search_agrees = ours.iter().all(|it| first_special(it) == plainly(it))
        && portable.iter().all(|it| portable::first_special(it) == plainly(it));
    search_agrees && read(fill) == read(portable::fill)
}

/// The first of 16 bytes that a JSON string cannot hold as it is: a quote, a backslash or a control
/// character.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
pub(super) fn first_special(block: &[u8; 16]) -> Option<usize> {
    // SAFETY: a function that enables features must run only where the processor has them, and this one is
    // there only where all code may use SSE2. It is given nothing but a reference.
    #[expect(unsafe_code, reason = "the proof stands above")]
    let special = unsafe { sse2::special(block) };
    (special != 0).then_some(special.trailing_zeros() as usize)
}

/// The first of 8 bytes that a JSON string cannot hold as it is.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline(always)]
pub(super) fn first_special(block: &[u8; 8]) -> Option<usize> {
    portable::first_special(block)
}

#[inline(always)]
fn fill_by(
    text: &[u8],
    blocks: &mut [Block],
    classes: impl Fn(&[u8; BLOCK]) -> Classes,
    rare: impl Fn(&[u8; BLOCK]) -> Rare,
    prefix_xor: impl Fn(u64) -> u64,
) -> Carry {
    // Before the text is as good as a gap.
    let mut carry = Carry { gap: 1, ..Carry::default() };
    let mut start = 0;
    for place in blocks {
        let rest = &text[start..];
        let padded;
        let block = if let Some(block) = rest.first_chunk() {
            block
        } else {
            padded = padded_with_spaces(rest);
            &padded
        };
        let found = classes(block);
        *place = match carry.plain_block(&found, &prefix_xor) {
            Some(op) => Block { op },
            None => carry.any_block(&found, &rare(block), text, start),
        };
        start += BLOCK;
    }
    carry
}

#[cold]
fn padded_with_spaces(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

impl Carry {
    /// The structural bitmap of a block without escapes and without white space between tokens; of
    /// another one nothing is said.
    #[inline(always)]
    fn plain_block(&mut self, classes: &Classes, prefix_xor: impl Fn(u64) -> u64) -> Option<u64> {
        if classes.is_rare || self.escaped | self.white != 0 {
            return None;
        }
        // From each opening quote on, up to the byte before its closing one.
        let within = prefix_xor(classes.quote) ^ self.within;
        if classes.space & !within != 0 {
            return None;
        }
        Some(self.tokens(classes.quote, within, classes.op & !within, 0))
    }

    /// The structural bitmap of any block; its first byte is number `start` of the text.
    #[inline(never)]
    fn any_block(&mut self, classes: &Classes, rare: &Rare, text: &[u8], start: usize) -> Block {
        let found = escapes(rare.backslash, self.escaped, text, start, self.unescaped);
        self.bad |= u64::from(found.is_none());
        if rare.backslash != 0 {
            let first = if self.escapes.1 == 0 { start } else { self.escapes.0 };
            self.escapes = (first, start + BLOCK);
        }
        // Behind the text's end is white space too, but not the text's.
        let end = (text.len() - start).min(BLOCK);
        let escaped;
        (escaped, self.escaped, self.unescaped) = found.unwrap_or_default();
        let quote = classes.quote & !escaped;
        let within = portable::prefix_xor(quote) ^ self.within;
        let op = classes.op & !within;
        let white = (classes.space | rare.white) & !within;
        self.has_white |= (white.trailing_zeros() as usize) < end;
        self.bad |= rare.control & (within | !rare.white);
        // White space behind a value: added to its first bit, the run carries into the bit behind it,
        // where a structural byte has to stand.
        let value = !(within | op | white) << 1 | (!(self.gap | self.within) & 1);
        let (sum, goes_on) = white.overflowing_add((white & value) | self.white);
        self.bad |= sum & !white & !op;
        self.white = u64::from(goes_on);
        Block { op: self.tokens(quote, within, op, white) }
    }

    /// Checks that a gap stands before each string and behind it.
    #[inline(always)]
    fn tokens(&mut self, quote: u64, within: u64, op: u64, white: u64) -> u64 {
        let gap = op | white;
        let (opening, closing) = (quote & within, quote & !within);
        self.bad |= opening & !(gap << 1 | self.gap);
        self.bad |= (closing << 1 | self.closed) & !gap;
        self.within = ((within as i64) >> 63) as u64;
        self.closed = closing >> 63;
        self.gap = gap >> 63;
        op
    }
}

/// Checks the escapes of a block from byte `from` on. Tells the bytes that are escaped, whether the next
/// block's first one is, and up to where escapes were checked.
fn escapes(
    backslash: u64,
    escaped: u64,
    bytes: &[u8],
    start: usize,
    mut from: usize,
) -> Option<(u64, u64, usize)> {
    const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    // In a run of backslashes every other one escapes what follows it. A subtraction runs through each
    // run; from an even place on it leaves other bits than from an odd one (as simdjson does).
    let first = backslash & !escaped;
    let ends = ((first << 1 | ODD).wrapping_sub(first)) ^ ODD;
    let mut escapes = ends & backslash;
    let next = escapes >> 63;
    while escapes != 0 {
        let at = start + escapes.trailing_zeros() as usize;
        escapes &= escapes - 1;
        if at >= from {
            from = at
                + match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                    b'u' => unicode_escape(&bytes[at..])?.1,
                    _ => return None,
                };
        }
    }
    Some((ends ^ (backslash | escaped), next, from))
}

/// By arithmetic on eight bytes at once.
mod portable {
    use super::{BLOCK, Block, Carry, Classes, Rare, fill_by};

    pub(super) fn fill(text: &[u8], blocks: &mut [Block]) -> Carry {
        fill_by(text, blocks, classes, rare, prefix_xor)
    }

    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOWS: u64 = ONES * 0x7f;

    fn classes(block: &[u8; BLOCK]) -> Classes {
        let op = |word: u64| {
            // `[` and `]` differ from `{` and `}` in one bit.
            let folded = word | (ONES * 0x20);
            is(b'{')(folded) | is(b'}')(folded) | is(b':')(word) | is(b',')(word)
        };
        let Rare { backslash, control, .. } = rare(block);
        Classes {
            quote: bitmap(block, is(b'"')),
            op: bitmap(block, op),
            space: bitmap(block, is(b' ')),
            is_rare: backslash | control != 0,
        }
    }

    fn rare(block: &[u8; BLOCK]) -> Rare {
        Rare {
            backslash: bitmap(block, is(b'\\')),
            // The upper three bits of a control character are 0.
            control: bitmap(block, |word| zeros(word & (ONES * 0xe0))),
            white: bitmap(block, |word| is(b'\t')(word) | is(b'\n')(word) | is(b'\r')(word)),
        }
    }

    /// Tells which of eight bytes is this one.
    fn is(byte: u8) -> impl Fn(u64) -> u64 {
        move |word| zeros(word ^ (ONES * u64::from(byte)))
    }

    /// A bit a byte, from what is told of eight bytes by their highest bits.
    fn bitmap(block: &[u8; BLOCK], tell: impl Fn(u64) -> u64) -> u64 {
        let (words, _) = block.as_chunks::<8>();
        words.iter().rev().fold(0, |bits, word| {
            let told = tell(u64::from_le_bytes(*word)) >> 7;
            bits << 8 | told.wrapping_mul(0x0102_0408_1020_4080) >> 56
        })
    }

    /// The highest bit of each byte that is 0.
    fn zeros(word: u64) -> u64 {
        !((word & LOWS).wrapping_add(LOWS) | word | LOWS)
    }

    /// As [`super::first_special`].
    #[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
    #[inline]
    pub(super) fn first_special(block: &[u8; 8]) -> Option<usize> {
        let word = u64::from_le_bytes(*block);
        let special = is(b'"')(word) | is(b'\\')(word) | zeros(word & (ONES * 0xe0));
        (special != 0).then(|| special.trailing_zeros() as usize / 8)
    }

    /// Each bit with all below it, modulo 2.
    pub(super) fn prefix_xor(mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }
}

/// By SSE2.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod sse2 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };

    /// A bit a byte: whether it is a quote, a backslash or a control character.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn special(block: &[u8; 16]) -> u32 {
        let bytes = i128::from_le_bytes(*block);
        let bytes = _mm_set_epi64x((bytes >> 64) as i64, bytes as i64);
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        let special = _mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), control);
        _mm_movemask_epi8(special).cast_unsigned()
    }
}

/// By AVX2, where the processor has it.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8, _mm256_setr_epi8, _mm256_shuffle_epi8,
        _mm256_testz_si256,
    };

    use super::{BLOCK, Block, Carry, Classes, Rare, fill_by};

    #[target_feature(enable = "avx2,bmi1,pclmulqdq")]
    pub(super) fn fill(text: &[u8], blocks: &mut [Block]) -> Carry {
        fill_by(text, blocks, |block| classes(block), |block| rare(block), |bits| prefix_xor(bits))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn classes(block: &[u8; BLOCK]) -> Classes {
        let (low, high) = halves(block);
        let unusual = |half| _mm256_or_si256(is(half, b'\\'), control(half));
        let unusual = _mm256_or_si256(unusual(low), unusual(high));
        Classes {
            quote: bitmap(is(low, b'"'), is(high, b'"')),
            op: bitmap(op(low), op(high)),
            space: bitmap(is(low, b' '), is(high, b' ')),
            is_rare: _mm256_testz_si256(unusual, unusual) == 0,
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn rare(block: &[u8; BLOCK]) -> Rare {
        let (low, high) = halves(block);
        let bits = |byte| bitmap(is(low, byte), is(high, byte));
        Rare {
            backslash: bits(b'\\'),
            control: bitmap(control(low), control(high)),
            white: bits(b'\t') | bits(b'\n') | bits(b'\r'),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(block: &[u8; BLOCK]) -> (__m256i, __m256i) {
        let (halves, _) = block.as_chunks();
        (load(&halves[0]), load(&halves[1]))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: what is read are the 32 bytes behind the reference, and they need not be aligned.
        #[expect(unsafe_code, reason = "the proof stands above")]
        unsafe {
            _mm256_loadu_si256(bytes.as_ptr().cast())
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bitmap(low: __m256i, high: __m256i) -> u64 {
        let low = _mm256_movemask_epi8(low).cast_unsigned();
        let high = _mm256_movemask_epi8(high).cast_unsigned();
        u64::from(low) | u64::from(high) << 32
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is(bytes: __m256i, byte: u8) -> __m256i {
        _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn control(bytes: __m256i) -> __m256i {
        _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes)
    }

    /// A table by the lower half of a byte holds the one structural byte that has it; `[` and `]` are made
    /// `{` and `}` first. A few control characters become `,` or `:` so; they are refused anyway.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn op(bytes: __m256i) -> __m256i {
        let table = _mm256_setr_epi8(
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x7b, 0x2c, 0x7d, 0, 0, //
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0x7b, 0x2c, 0x7d, 0, 0,
        );
        let folded = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        _mm256_cmpeq_epi8(folded, _mm256_shuffle_epi8(table, bytes))
    }

    /// Each bit with all below it, modulo 2: a product with all bits, without carries.
    #[inline]
    #[target_feature(enable = "sse2,pclmulqdq")]
    fn prefix_xor(bits: u64) -> u64 {
        let all = _mm_set1_epi8(-1);
        let product = _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits.cast_signed()), all);
        _mm_cvtsi128_si64(product).cast_unsigned()
    }
}
