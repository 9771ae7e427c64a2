//! Parts of a model asked for by name: tensors, metadata, values.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use super::glob;
use crate::engine::format::{Array, Value, ValueType};
use crate::engine::{Checkpoint, Error, Result, Tensor};
use crate::tools::console::{bytes, visible};
use crate::tools::tensor::{Look, Rows};

/// Elements of an array that a listing of several keys shows.
const FEW: usize = 8;
/// Rows that `--values` shows.
const ROWS: usize = 8;
/// Numbers of a row that text shows.
const COLS: usize = 8;

/// A tensor in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct TensorLine {
    /// Canonical name.
    pub name: String,
    /// The file's own name, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Type.
    #[serde(rename = "type")]
    pub dtype: &'static str,
    /// Dimensions, the row's length first.
    pub shape: Vec<usize>,
    /// Bytes.
    pub bytes: usize,
    /// Which file of the checkpoint.
    pub file: usize,
    /// Where it starts there.
    pub offset: u64,
}

impl TensorLine {
    /// The line of a tensor.
    pub fn of(t: &Tensor) -> TensorLine {
        TensorLine {
            name: t.name.clone(),
            file_name: (t.file_name != t.name).then(|| t.file_name.clone()),
            dtype: t.dtype.name(),
            shape: t.shape.clone(),
            bytes: t.data.len(),
            file: t.file,
            offset: t.offset,
        }
    }
}

impl fmt::Display for TensorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        let (name, dtype) = (visible(&self.name), self.dtype);
        let (shape, size) = (shape.join("×"), bytes(self.bytes as u64));
        write!(f, "{name:<32} {dtype:<7} {shape:<14} {size:>12}  at {:#x}", self.offset)?;
        match &self.file_name {
            Some(own) => writeln!(f, "  {}", visible(own)),
            None => writeln!(f),
        }
    }
}

/// The tensors of a pattern; none is an error.
pub fn tensors(ckpt: &Checkpoint, pattern: &str) -> Result<Vec<TensorLine>> {
    let found: Vec<TensorLine> = ckpt
        .tensors
        .values()
        .filter(|t| glob::matches(pattern, &t.name) || glob::matches(pattern, &t.file_name))
        .map(TensorLine::of)
        .collect();
    if found.is_empty() && !ckpt.tensors.is_empty() {
        return Err(Error::Invalid(format!("--tensors: no tensor is called {pattern}")));
    }
    Ok(found)
}

/// The metadata of a pattern. One key is shown whole; of several, arrays show their beginning.
pub fn metadata(ckpt: &Checkpoint, pattern: &str) -> Result<serde_json::Map<String, Json>> {
    let keys: Vec<_> = ckpt.meta.0.iter().filter(|(key, _)| glob::matches(pattern, key)).collect();
    if keys.is_empty() {
        return Err(Error::Invalid(format!("--metadata: no key is called {pattern}")));
    }
    let most = if keys.len() == 1 { usize::MAX } else { FEW };
    Ok(keys.into_iter().map(|(key, value)| (key.clone(), json(value, most))).collect())
}

/// A metadata value as JSON; of an array the first `most` elements.
pub fn json(value: &Value, most: usize) -> Json {
    match value {
        Value::Uint(v, _) => (*v).into(),
        Value::Int(v, _) => (*v).into(),
        Value::Float(v, _) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Str(s) => String::from_utf8_lossy(s).into(),
        Value::Array(a) => array(a, most),
    }
}

fn array(a: &Array, most: usize) -> Json {
    let integer = !matches!(a.elem, ValueType::F32 | ValueType::F64);
    let mut items: Vec<Json> = match a.elem {
        ValueType::Str => {
            a.strings().take(most).map(|s| String::from_utf8_lossy(s).into()).collect()
        }
        ValueType::Array => vec![],
        ValueType::Bool => a.numbers().take(most).map(|x| (x != 0.0).into()).collect(),
        _ if integer => a.numbers().take(most).map(|x| (x as i64).into()).collect(),
        _ => a.numbers().take(most).map(Into::into).collect(),
    };
    if items.len() < a.len {
        items.push(format!("… {} {} in all", a.len, a.elem.name()).into());
    }
    items.into()
}

/// Metadata as text: a key and its value on a line, strings without quotes.
pub fn write_metadata(
    f: &mut fmt::Formatter<'_>,
    found: &serde_json::Map<String, Json>,
) -> fmt::Result {
    for (key, value) in found {
        match value {
            Json::String(s) => writeln!(f, "{} = {}", visible(key), visible(s))?,
            v => writeln!(f, "{} = {}", visible(key), visible(&v.to_string()))?,
        }
    }
    Ok(())
}

/// A tensor's numbers: statistics over all, and its first rows.
#[derive(Clone, Debug, Serialize)]
pub struct Values {
    /// Which tensor.
    pub tensor: TensorLine,
    /// Over all its numbers.
    #[serde(rename = "stats")]
    pub look: Look,
    /// The first rows, whole.
    pub rows: Vec<Vec<f32>>,
}

/// The tensor that `--values` means.
pub fn find<'a>(ckpt: &'a Checkpoint, name: &str) -> Result<&'a Tensor> {
    let own = || ckpt.tensors.values().find(|t| t.file_name == name);
    let short = || ckpt.tensors.get(&format!("{name}.weight"));
    ckpt.tensors
        .get(name)
        .or_else(own)
        .or_else(short)
        .ok_or_else(|| Error::Invalid(format!("--values: no tensor is called {name}")))
}

/// The numbers of a tensor that was looked at.
pub fn values(ckpt: &Checkpoint, tensor: &Tensor, look: Option<Look>) -> Result<Values> {
    let refuse = || {
        Error::unsupported(&ckpt.path, format!("{}: {} is not decoded", tensor.name, tensor.dtype))
    };
    let (look, rows) = (look.ok_or_else(refuse)?, Rows::new(tensor).ok_or_else(refuse)?);
    let first = (0..rows.rows.min(ROWS)).map(|r| {
        let mut row = vec![0f32; rows.cols];
        rows.decode(r, &mut row);
        row
    });
    let line = tensors(ckpt, &tensor.name)?.pop().ok_or_else(refuse)?;
    Ok(Values { tensor: line, look, rows: first.collect() })
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.look.stats;
        write!(f, "{}", self.tensor)?;
        writeln!(f, "{} numbers, mean {:.6}, sd {:.6}, {} .. {}", s.n, s.mean, s.sd, s.min, s.max)?;
        writeln!(
            f,
            "NaN {}, infinite {}, zero {}, rows of zeros {}",
            s.nan, s.inf, s.zeros, s.zero_rows
        )?;
        let (kurtosis, near, far) = (self.look.kurtosis, self.look.near_zero, self.look.far);
        writeln!(f, "kurtosis {kurtosis:.3}, |x| < sd/100 {near}, |x − mean| > 4 sd {far}")?;
        for (i, row) in self.rows.iter().enumerate() {
            let shown: Vec<String> = row.iter().take(COLS).map(|x| format!("{x:>10.5}")).collect();
            let more = if row.len() > COLS { "  …" } else { "" };
            writeln!(f, "{i:>3} {}{more}", shown.join(" "))?;
        }
        Ok(())
    }
}
