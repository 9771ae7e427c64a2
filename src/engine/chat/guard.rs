//! What keeps a stranger's template within bounds, beyond the fuel that minijinja counts itself.
//!
//! minijinja 3.1 charges for a value's text after it was written, and writes it by recursion. But
//! a list may hold another many times over (`[x, x]`, again and again), and then its text is
//! exponentially long; or be nested deeper than the stack is. So whatever turns values into text
//! weighs them first: printing, filters, methods. Two places give no such hook: `~` and
//! comparisons of two such values. There a template can still waste time; it cannot get out.

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, escape_formatter, filters};
use minijinja_contrib::pycompat;

/// Deepest nesting of lists and maps that is turned into text.
pub(super) const MAX_DEPTH: usize = 100;
/// Longest run of digits in a format string: a width of 9,999 is wider than any prompt's table.
const MAX_DIGITS: usize = 4;
/// Stack for the compiler: the operators of a tag may nest as deep as [`MAX_TAG`] is long.
const STACK: usize = 64 << 20;
/// Stack for each unit of fuel: five of them nest a value one level deeper, and its text,
/// comparison or end recurses. Only what is touched is ever taken from the machine.
const STACK_PER_FUEL: usize = 512;
/// Longest single tag: operators of one expression nest as deep as it is long.
pub(super) const MAX_TAG: usize = 16 << 10;

/// Puts weights before all that makes text of values.
pub(super) fn install(env: &mut Environment<'static>) {
    env.set_formatter(|out, state, value| {
        weigh(state, value, 0)?;
        escape_formatter(out, state, value)
    });
    let guarded = [
        ("capitalize", Value::from_function(filters::capitalize)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("format", Value::from_function(filters::format)),
        ("indent", Value::from_function(filters::indent)),
        ("join", Value::from_function(filters::join)),
        ("lines", Value::from_function(filters::lines)),
        ("lower", Value::from_function(filters::lower)),
        ("replace", Value::from_function(filters::replace)),
        ("safe", Value::from_function(filters::safe)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(filters::string)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("upper", Value::from_function(filters::upper)),
    ];
    for (name, filter) in guarded {
        env.add_filter(name, move |state: &mut State, args: Rest<Value>| {
            args.iter().try_for_each(|v| weigh(state, v, 0))?;
            filter.call(state, &args)
        });
    }
    // Not Jinja's, or of no use in a prompt.
    for name in ["chain", "pprint", "zip"] {
        env.remove_filter(name);
    }
    env.remove_global("debug");
    env.set_unknown_method_callback(|state, value, method, args| {
        args.iter().try_for_each(|v| weigh(state, v, 0))?;
        if method == "format" {
            let format = value.as_str().unwrap_or_default();
            if format.split(|c: char| !c.is_ascii_digit()).any(|run| run.len() > MAX_DIGITS) {
                return Err(Error::new(ErrorKind::InvalidOperation, "format: a number too large"));
            }
        }
        pycompat::unknown_method_callback(state, value, method, args)
    });
}

/// Pays for each item that a value's text will show, and stops at what is nested too deeply.
fn weigh(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply"));
    }
    for item in value.try_iter()? {
        state.consume_fuel(1)?;
        weigh(state, &item, depth + 1)?;
        if value.kind() == ValueKind::Map {
            weigh(state, &value.get_item(&item)?, depth + 1)?;
        }
    }
    Ok(())
}

/// The line of a tag longer than [`MAX_TAG`], if there is one.
pub(super) fn long_tag(source: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(open) = source[at..].find(['{']) {
        let start = at + open + 1;
        let close = match source.as_bytes().get(start) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            _ => {
                at = start;
                continue;
            }
        };
        // Too short where a text in the tag holds the closing sign: the tag that then seems to
        // follow is looked at too, so at worst a tag is twice as long as it may be.
        let len = source[start..].find(close).unwrap_or(source.len() - start);
        if len > MAX_TAG {
            return Some(source[..start].matches('\n').count() + 1);
        }
        at = start + len;
    }
    None
}

/// Runs `f`, which may use so much fuel, on a stack that is deep enough for it.
pub(super) fn on_deep_stack<T: Send>(
    fuel: u64,
    f: impl FnOnce() -> T + Send,
) -> std::io::Result<T> {
    let stack = STACK.saturating_add(STACK_PER_FUEL.saturating_mul(fuel as usize));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("template".into()).stack_size(stack);
        match thread.spawn_scoped(scope, f)?.join() {
            Ok(value) => Ok(value),
            // Not ours to swallow: the session's catch_unwind tells of it.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
