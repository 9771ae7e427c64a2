//! The models on this machine: where programs keep them, found by name, told from their headers.
//!
//! Looks, and never changes anything: stores of other programs are read in place. What lies there
//! is a stranger's, so folders are walked to a depth and a number, names inside manifests are
//! checked before they become paths, and files are read no further than their headers.

mod card;
mod hub;
mod ollama;
mod places;
mod walk;
mod words;

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;

pub use card::{Entry, free_memory};
pub use places::{Place, PlaceKind, places, tilde};
pub use words::{resolve, resolve_in};

use super::Control;
use crate::engine::Result;
use crate::engine::format::DEMO;

/// Most models that are listed.
pub const MOST: usize = 2_000;

/// A model that was found, not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What people call it: a file's name, `llama3.2:1b`, `org/repo:Q4_K_M`.
    pub name: String,
    /// The word that names it on a command line, wherever one stands.
    pub word: String,
    /// What is opened.
    pub path: PathBuf,
    /// The kind of place that it was found in.
    pub kind: PlaceKind,
}

/// A place and how many models it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Searched {
    /// The place.
    pub place: Place,
    /// Models found; `None` where the place is not present.
    pub models: Option<usize>,
    /// Some were left out: there are too many.
    pub cut: bool,
}

/// All models of the places, the embedded one first; each once, at the first place that has it.
///
/// # Errors
/// Only when it is cancelled: what cannot be read is passed over.
pub fn find(places: &[Place], control: &Control) -> Result<(Vec<Found>, Vec<Searched>)> {
    let demo = Found {
        name: DEMO.into(),
        word: DEMO.into(),
        path: DEMO.into(),
        kind: PlaceKind::Embedded,
    };
    let (mut found, mut searched) = (vec![demo], Vec::new());
    let mut seen = HashSet::new();
    for place in places {
        control.check()?;
        let mut here = walk::Here::new(place, MOST.saturating_sub(found.len()), control);
        let present = place.path.as_deref().is_some_and(|p| p.is_dir());
        if present {
            match place.kind {
                PlaceKind::HuggingFace => hub::find(&mut here),
                PlaceKind::Ollama => ollama::find(&mut here),
                _ => walk::find(&mut here),
            }
        }
        let before = found.len();
        for model in here.found {
            // The same file has many names: links, snapshots of one commit and the next.
            let key = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
            if seen.insert(key) {
                found.push(model);
            }
        }
        searched.push(Searched {
            place: place.clone(),
            models: present.then_some(found.len() - before),
            cut: here.cut,
        });
    }
    Ok((found, searched))
}
