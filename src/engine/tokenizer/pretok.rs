//! pretok
