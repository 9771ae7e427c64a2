//! Metadata values, as GGUF has them; arrays stay in the file's bytes until asked for.

use bytes::Bytes;
use indexmap::IndexMap;

/// Types of GGUF values, by id.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// The type of an id in a file.
    pub fn from_id(id: u32) -> Option<ValueType> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, Str, Array, U64, I64, F64].get(id as usize).copied()
    }

    /// Bytes of a value of fixed size; `None` for strings and arrays.
    pub fn size(self) -> Option<usize> {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            Str | Array => None,
        }
    }

    /// As GGUF's documents write it.
    pub fn name(self) -> &'static str {
        use ValueType::*;
        match self {
            U8 => "u8",
            I8 => "i8",
            U16 => "u16",
            I16 => "i16",
            U32 => "u32",
            I32 => "i32",
            F32 => "f32",
            Bool => "bool",
            Str => "str",
            Array => "arr",
            U64 => "u64",
            I64 => "i64",
            F64 => "f64",
        }
    }
}

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer.
    Uint(u64, ValueType),
    /// Any signed integer.
    Int(i64, ValueType),
    /// f32 or f64.
    Float(f64, ValueType),
    /// A flag.
    Bool(bool),
    /// Text; bytes of the file, not always UTF-8.
    Str(Bytes),
    /// An array, still in the file's bytes.
    Array(Array),
}

impl Value {
    /// Text made here.
    pub fn text(s: impl Into<String>) -> Value {
        Value::Str(Bytes::from(s.into()))
    }

    /// A number or flag of fixed size from its little-endian bytes; `None` for strings and
    /// arrays, for the wrong number of bytes, and for a bool that is neither 0 nor 1.
    pub fn scalar(kind: ValueType, raw: &[u8]) -> Option<Value> {
        Some(match kind {
            ValueType::U8 => Value::Uint(u64::from(u8::from_le_bytes(raw.try_into().ok()?)), kind),
            ValueType::U16 => {
                Value::Uint(u64::from(u16::from_le_bytes(raw.try_into().ok()?)), kind)
            }
            ValueType::U32 => {
                Value::Uint(u64::from(u32::from_le_bytes(raw.try_into().ok()?)), kind)
            }
            ValueType::U64 => Value::Uint(u64::from_le_bytes(raw.try_into().ok()?), kind),
            ValueType::I8 => Value::Int(i64::from(i8::from_le_bytes(raw.try_into().ok()?)), kind),
            ValueType::I16 => Value::Int(i64::from(i16::from_le_bytes(raw.try_into().ok()?)), kind),
            ValueType::I32 => Value::Int(i64::from(i32::from_le_bytes(raw.try_into().ok()?)), kind),
            ValueType::I64 => Value::Int(i64::from_le_bytes(raw.try_into().ok()?), kind),
            ValueType::F32 => {
                Value::Float(f64::from(f32::from_le_bytes(raw.try_into().ok()?)), kind)
            }
            ValueType::F64 => Value::Float(f64::from_le_bytes(raw.try_into().ok()?), kind),
            ValueType::Bool => match raw {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return None,
            },
            ValueType::Str | ValueType::Array => return None,
        })
    }

    /// The value's type.
    pub fn kind(&self) -> ValueType {
        match self {
            Value::Uint(_, t) | Value::Int(_, t) | Value::Float(_, t) => *t,
            Value::Bool(_) => ValueType::Bool,
            Value::Str(_) => ValueType::Str,
            Value::Array(_) => ValueType::Array,
        }
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Value::Uint(u64::from(v), ValueType::U32)
    }
}
impl From<f32> for Value {
    fn from(v: f32) -> Self {
        Value::Float(f64::from(v), ValueType::F32)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Bool(v)
    }
}
impl From<Array> for Value {
    fn from(v: Array) -> Self {
        Value::Array(v)
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::text(v)
    }
}

/// An array of metadata: `len` values of type `elem` in GGUF's encoding, checked when the file
/// was opened, decoded when asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Type of the elements.
    pub elem: ValueType,
    /// How many.
    pub len: usize,
    /// Their encoding: fixed-size values back to back; strings as u64 length and bytes; nested
    /// arrays as u32 type, u64 length, values.
    pub bytes: Bytes,
}

impl Array {
    /// An array of floats made here.
    pub fn from_f32s(v: &[f32]) -> Array {
        let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
        Array { elem: ValueType::F32, len: v.len(), bytes: bytes.into() }
    }

    /// An array of unsigned numbers made here.
    pub fn from_u32s(v: &[u32]) -> Array {
        let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
        Array { elem: ValueType::U32, len: v.len(), bytes: bytes.into() }
    }

    /// An array of strings made here.
    pub fn from_strs<S: AsRef<[u8]>>(v: &[S]) -> Array {
        let mut out = Vec::new();
        for s in v {
            out.extend_from_slice(&(s.as_ref().len() as u64).to_le_bytes());
            out.extend_from_slice(s.as_ref());
        }
        Array { elem: ValueType::Str, len: v.len(), bytes: out.into() }
    }

    /// The strings, or nothing for another type.
    pub fn strings(&self) -> Strings<'_> {
        let left = if self.elem == ValueType::Str { self.len } else { 0 };
        Strings { bytes: &self.bytes, left }
    }

    /// Numbers as f64, whatever their type (bools as 0 and 1); nothing for strings and arrays.
    pub fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        // A size that no slice has leaves nothing to iterate over.
        let size = self.elem.size().unwrap_or(usize::MAX);
        self.bytes.chunks_exact(size).filter_map(|c| match Value::scalar(self.elem, c)? {
            Value::Uint(v, _) => Some(v as f64),
            Value::Int(v, _) => Some(v as f64),
            Value::Float(v, _) => Some(v),
            Value::Bool(v) => Some(f64::from(u8::from(v))),
            Value::Str(_) | Value::Array(_) => None,
        })
    }

    /// The values one by one, strings and nested arrays as slices of the file.
    pub fn values(&self) -> Values<'_> {
        Values { array: self, at: 0, left: self.len }
    }
}

/// Iterates an [`Array`].
pub struct Values<'a> {
    array: &'a Array,
    at: usize,
    left: usize,
}

impl Values<'_> {
    /// The next `n` bytes.
    fn take(&mut self, n: usize) -> Option<Bytes> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.array.bytes.len())?;
        let s = self.array.bytes.slice(self.at..end);
        self.at = end;
        Some(s)
    }

    fn u64(&mut self) -> Option<usize> {
        let raw = self.take(8)?;
        usize::try_from(u64::from_le_bytes(raw.as_ref().try_into().ok()?)).ok()
    }

    /// A value of type `elem` at the position.
    fn value(&mut self, elem: ValueType) -> Option<Value> {
        match elem {
            ValueType::Str => {
                let len = self.u64()?;
                self.take(len).map(Value::Str)
            }
            ValueType::Array => {
                let raw = self.take(4)?;
                let elem = ValueType::from_id(u32::from_le_bytes(raw.as_ref().try_into().ok()?))?;
                let len = self.u64()?;
                let start = self.at;
                match elem.size() {
                    Some(size) => drop(self.take(len.checked_mul(size)?)?),
                    None => (0..len).try_for_each(|_| self.value(elem).map(drop))?,
                }
                let bytes = self.array.bytes.slice(start..self.at);
                Some(Value::Array(Array { elem, len, bytes }))
            }
            kind => {
                let raw = self.take(kind.size()?)?;
                Value::scalar(kind, &raw)
            }
        }
    }
}

impl Iterator for Values<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        self.value(self.array.elem)
    }
}

/// Iterates the strings of an [`Array`].
pub struct Strings<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.bytes.split_first_chunk::<8>()?;
        let (s, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.bytes = rest;
        Some(s)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// Keys and values in file order. Every getter's error is a sentence that names the key.
#[derive(Clone, Debug, Default)]
pub struct Metadata(pub IndexMap<String, Value>);

impl Metadata {
    /// A value, if the key is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    fn need(&self, key: &str) -> std::result::Result<&Value, String> {
        self.get(key).ok_or_else(|| format!("metadata key {key} is missing"))
    }

    /// A string that has to be there, in UTF-8.
    pub fn str(&self, key: &str) -> std::result::Result<&str, String> {
        match self.need(key)? {
            Value::Str(s) => std::str::from_utf8(s).map_err(|_| format!("{key} is not UTF-8")),
            v => Err(format!("{key} is {}, expected a string", v.kind().name())),
        }
    }

    /// A string, if it is there and is UTF-8.
    pub fn opt_str(&self, key: &str) -> Option<&str> {
        self.str(key).ok()
    }

    /// A number that has to be there, not negative.
    pub fn uint(&self, key: &str) -> std::result::Result<u64, String> {
        match self.need(key)? {
            Value::Uint(v, _) => Ok(*v),
            Value::Int(v, _) => u64::try_from(*v).map_err(|_| format!("{key} is {v}")),
            v => Err(format!("{key} is {}, expected an integer", v.kind().name())),
        }
    }

    /// A number; absent is `None`, another type an error.
    pub fn opt_uint(&self, key: &str) -> std::result::Result<Option<u64>, String> {
        if self.get(key).is_none() { Ok(None) } else { self.uint(key).map(Some) }
    }

    /// A float; absent is `None`, another type an error. Integers are taken too.
    pub fn opt_float(&self, key: &str) -> std::result::Result<Option<f32>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(v, _)) => Ok(Some(*v as f32)),
            Some(Value::Uint(v, _)) => Ok(Some(*v as f32)),
            Some(Value::Int(v, _)) => Ok(Some(*v as f32)),
            Some(v) => Err(format!("{key} is {}, expected a number", v.kind().name())),
        }
    }

    /// A flag; absent is `None`.
    pub fn opt_bool(&self, key: &str) -> std::result::Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(v) => Err(format!("{key} is {}, expected a bool", v.kind().name())),
        }
    }

    /// An array, if it is there.
    pub fn opt_array(&self, key: &str) -> std::result::Result<Option<&Array>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(a)) => Ok(Some(a)),
            Some(v) => Err(format!("{key} is {}, expected an array", v.kind().name())),
        }
    }
}
