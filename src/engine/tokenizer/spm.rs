//! spm
