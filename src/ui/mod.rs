//! The screen: state, keys, pixels. Talks to the engine by Command and Event only.
