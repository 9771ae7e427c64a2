//! x86-64: one folder an instruction set, and what both share.
//!
//! Both sets cut a row of quantized weights into *panels* of 256 weights: one super-block of a
//! K type, or 8 neighbouring blocks of 32. Whatever the type, a panel unpacks to the same three
//! things: 256 small integers in their natural order, a scale for each 16 of them, and an offset
//! for each 16 of them. From there on one piece of code serves all types:
//!
//! ```text
//! Σ w·x  =  Σ₁₆ scale · d · (Σ int·q)  +  Σ₁₆ offset · s        s = d · Σq
//! ```
//!
//! The processor multiplies unsigned by signed bytes. Weights of up to six bits are left unsigned,
//! and what is to be taken off them (8 for Q4_0, 32 for Q6_K) becomes an offset, which costs one
//! multiply-add for 16 × 16 weights; weights of eight bits give their signs to the activations.

pub(super) mod avx2;
pub(super) mod avx512;
mod tile;

/// AVX2, FMA and F16C.
pub(super) fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

/// AVX-512 F, BW, VL, DQ and VNNI.
pub(super) fn has_avx512() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

#[cfg(test)]
mod tests;
