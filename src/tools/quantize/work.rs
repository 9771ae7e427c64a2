//! The steps of a quantization as functions: plan, preview, trial, write. A screen and the command
//! line call the same ones; each says how far it is and stops when it is told to.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::plan::{self, Item};
use super::recipe::Recipe;
use crate::engine::format::write::llama2c::Version;
use crate::engine::format::write::{Layout, Slot};
use crate::engine::format::{DEMO, Format, Metadata};
use crate::engine::kernels::Kernels;
use crate::engine::tokenizer::LoadOptions;
use crate::engine::{Checkpoint, DType, Error, Tensor};
use crate::tools::imatrix::Importance;
use crate::tools::opts::FileOpts;
use crate::tools::progress::On;
use crate::tools::rewrite::carry::{Carried, carry};
use crate::tools::rewrite::container::Crossing;
pub use crate::tools::rewrite::container::GROUP;
use crate::tools::rewrite::{Container, Rewrite, Source, Target, Written, target};
use crate::tools::{self, Control, Result};

/// The key that names the source by its content.
const SOURCE: &str = "general.source.sha256";

/// A source that is open.
pub struct Work {
    /// Its headers.
    pub ckpt: Checkpoint,
    /// Its files.
    pub source: Source,
    /// The instruction set.
    pub kernels: Kernels,
    /// Its tokenizer, if the user named one.
    pub files: FileOpts,
}

/// The container for a type, at a path: its ending says which, the type which version.
pub fn container(out: &Path, mix: DType) -> tools::Result<Container> {
    let refuse = |what: String| Err(Error::Invalid(format!("{}: {what}", out.display())).into());
    match (Container::of(out), mix) {
        (None, _) => refuse("name a folder: config.json and tokenizer.json go along".into()),
        (Some(Container::Llama2c(_)), DType::F32) => Ok(Container::Llama2c(Version::V0)),
        (Some(Container::Llama2c(_)), DType::Q8_0) => Ok(Container::Llama2c(Version::V2(GROUP))),
        (Some(Container::Llama2c(_)), t) => {
            refuse(format!("llama2.c files are F32 or Q8_0, not {t}"))
        }
        (Some(Container::Safetensors), t) if t.row().block_len > 1 => {
            refuse(format!("safetensors hold F32, F16 and BF16, not {t}; name it .gguf"))
        }
        (Some(container), _) => Ok(container),
    }
}

impl Work {
    /// Opens a model. Nothing of its weights is read.
    pub fn open(model: &Path, files: &FileOpts, kernels: Kernels) -> Result<Work> {
        let ckpt = files.open(model)?;
        let source = Source::open(&ckpt)?;
        Ok(Work { ckpt, source, kernels, files: files.clone() })
    }

    /// What becomes of each tensor, and what goes along. `out` is where it would stand.
    pub fn plan<'a>(
        &'a self,
        recipe: &Recipe,
        out: &Path,
        container: Container,
        importance: Option<&'a Importance>,
    ) -> Result<Plan<'a>> {
        let container = container.fit(&self.ckpt);
        let items = plan::plan(&self.ckpt, recipe, container, importance.is_some())?;
        let mut plan = self.with_items(items, out, container, importance)?;
        plan.recipe = recipe.to_string();
        if container == Container::Gguf {
            plan.carried.meta.set("general.file_type", recipe.mix.file_type);
            plan.carried.meta.set("nine.recipe", plan.recipe.as_str());
        }
        Ok(plan)
    }

    /// The same tensors in another container: nothing is asked of their types.
    pub fn convert<'a>(&'a self, out: &Path, container: Container) -> Result<Plan<'a>> {
        let container = container.fit(&self.ckpt);
        let tensors = self.ckpt.tensors.values();
        let items = tensors.map(|t| plan::item(t, t.dtype, container)).collect();
        self.with_items(items, out, container, None)
    }

    fn with_items<'a>(
        &'a self,
        items: Vec<Item>,
        out: &Path,
        container: Container,
        importance: Option<&'a Importance>,
    ) -> Result<Plan<'a>> {
        let pre =
            LoadOptions { path: self.files.tokenizer.as_deref(), pre: self.files.pre.as_deref() };
        let crossing = Crossing::new(&self.ckpt, container)?;
        let mut carried = carry(&self.ckpt, container, out, pre)?;
        provenance(&mut carried.meta, importance);
        if container == Container::Gguf && self.ckpt.files.len() == 1 && self.source.is_files() {
            // As long as what will stand there: sizes are known before the source has been read.
            carried.meta.set(SOURCE, "0".repeat(64).as_str());
        }
        Ok(Plan {
            work: self,
            recipe: String::new(),
            container,
            out: out.to_owned(),
            items,
            carried,
            crossing,
            importance,
        })
    }
}

/// What a written file says of where it comes from.
fn provenance(meta: &mut Metadata, importance: Option<&Importance>) {
    meta.set("general.quantization_version", 2u32);
    meta.set("general.quantized_by", concat!("nine-tui ", env!("CARGO_PKG_VERSION")));
    let Some(importance) = importance else { return };
    let small = |v: u64| i32::try_from(v).unwrap_or(i32::MAX) as u32;
    let text = importance.datasets.join(", ");
    meta.set("quantize.imatrix.dataset", text.as_str());
    meta.set("quantize.imatrix.entries_count", small(importance.entries.len() as u64));
    meta.set("quantize.imatrix.chunks_count", small(importance.chunks));
}

/// What is to be done, before any of it is.
pub struct Plan<'a> {
    /// The source.
    pub work: &'a Work,
    /// The recipe, as it will stand in the file; empty for a change of container only.
    pub recipe: String,
    /// What is written.
    pub container: Container,
    /// Where.
    pub out: PathBuf,
    /// Every tensor, in the source's order.
    pub items: Vec<Item>,
    /// Metadata and files.
    pub carried: Carried,
    crossing: Crossing,
    importance: Option<&'a Importance>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Done {
    /// The file with the weights.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// One for each tensor.
    pub written: Vec<Written>,
    /// Files that were written beside it.
    pub beside: Vec<PathBuf>,
    /// Of the source's files, in hexadecimal.
    pub source_sha256: Vec<String>,
}

impl<'a> Plan<'a> {
    /// What errors count.
    pub fn importance(&self) -> Option<&'a Importance> {
        self.importance
    }

    /// As the loop over tensors wants it.
    pub fn rewrite(&self) -> Rewrite<'_> {
        Rewrite {
            ckpt: &self.work.ckpt,
            source: &self.work.source,
            container: self.container,
            crossing: self.crossing,
            meta: self.carried.meta.clone(),
            slots: self.items.iter().map(|i| i.slot.clone()).collect(),
            ids: self.carried.ids.as_deref(),
            importance: self.importance,
            kernels: self.work.kernels,
        }
    }

    /// Where everything will stand in the file.
    pub fn layout(&self) -> Result<Layout> {
        Ok(self.rewrite().layout(&self.container.file(&self.out))?)
    }

    /// The model as it would be, in memory: to be run before a byte of it is written.
    pub fn trial(&self, control: &Control, on: On<'_>) -> Result<Checkpoint> {
        let rewrite = self.rewrite();
        let total = (rewrite.numbers() >> 10) as usize;
        let mut done = 0u64;
        let mut trial = self.work.ckpt.clone();
        // Nothing of it is in a file: the embedded model is the only other that is so.
        (trial.path, trial.files) = (PathBuf::from(DEMO), vec![PathBuf::from(DEMO)]);
        trial.meta = self.carried.meta.clone();
        trial.format = match self.container {
            Container::Gguf => Format::Gguf(3),
            _ => self.work.ckpt.format,
        };
        trial.tensors.clear();
        for (i, item) in self.items.iter().enumerate() {
            let (data, _) = rewrite.tensor(i, control, &mut |n| {
                done += n;
                on((done >> 10) as usize, total);
            })?;
            let Slot { name, dtype, shape, group } = item.slot.clone();
            let tensor = Tensor {
                file_name: name.clone(),
                name: name.clone(),
                dtype,
                shape,
                data: data.into(),
                file: 0,
                offset: 0,
                group,
            };
            trial.tensors.insert(name, tensor);
        }
        Ok(trial)
    }

    /// Writes it: as `NAME.part`, synced, opened again and compared, looked at by `check`, and only
    /// then given its name. Whatever fails leaves nothing behind.
    pub fn write(
        &self,
        force: bool,
        control: &Control,
        on: On<'_>,
        check: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Done> {
        let file = self.container.file(&self.out);
        self.allowed(force)?;
        let folder = Folder::make(self.container, &self.out)?;
        let source = &self.work.source;
        let mut rewrite = self.rewrite();
        let source_sha256 = source.hashes(control)?;
        if let (Some(_), [one]) = (rewrite.meta.get(SOURCE), source_sha256.as_slice()) {
            rewrite.meta.set(SOURCE, one.as_str());
        }
        let layout = rewrite.layout(&file)?;
        let others: u64 = self.carried.beside.iter().map(|b| b.bytes.len() as u64).sum();
        target::check_room(&file, layout.bytes.saturating_add(others))?;
        let mut beside = Vec::new();
        for b in &self.carried.beside {
            let mut target = Target::create(&b.path, source)?;
            if let Err(e) = target.write_all(&b.bytes) {
                return Err(target.failed(e));
            }
            target.sync()?;
            beside.push(target);
        }
        let mut target = Target::create(&file, source)?;
        let total = (rewrite.numbers() >> 10) as usize;
        let mut done = 0u64;
        let written = rewrite.write(&layout, &mut target, control, &mut |n| {
            done += n;
            on((done >> 10) as usize, total);
        })?;
        target.sync()?;
        // The small files first: a model without its tokenizer would be half a model, and a
        // safetensors file cannot be opened without its config.json.
        let mut placed = Placed(Vec::new());
        for (b, file) in beside.into_iter().zip(&self.carried.beside) {
            let new = !file.path.exists();
            b.commit()?;
            placed.0.extend(new.then(|| file.path.clone()));
        }
        rewrite.reopen(target.part(), &written)?;
        check(target.part())?;
        control.check()?;
        target.commit()?;
        placed.0.clear();
        folder.keep();
        let beside = self.carried.beside.iter().map(|b| b.path.clone()).collect();
        Ok(Done { file, bytes: layout.bytes, written, beside, source_sha256 })
    }

    /// Whether everything may be written where it is to stand.
    pub fn allowed(&self, force: bool) -> Result<()> {
        target::check(&self.container.file(&self.out), &self.work.source, force)?;
        self.carried
            .beside
            .iter()
            .try_for_each(|b| target::check(&b.path, &self.work.source, force))
    }
}

/// Files that go again unless the model that they belong to comes.
struct Placed(Vec<PathBuf>);

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A folder that goes again if it was made here and nothing came into it.
struct Folder(Option<PathBuf>);

impl Folder {
    fn make(container: Container, out: &Path) -> Result<Folder> {
        if container != Container::Safetensors || out.is_dir() {
            return Ok(Folder(None));
        }
        std::fs::create_dir(out).map_err(|e| Error::io(out, e))?;
        Ok(Folder(Some(out.to_owned())))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Not if something is in it.
            let _ = std::fs::remove_dir(path);
        }
    }
}
