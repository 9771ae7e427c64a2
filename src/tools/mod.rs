//! Tools: one question, one answer. Options in, report out.
