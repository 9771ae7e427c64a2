//! Chat templates: those of real models against Python's Jinja2, and hostile ones.

mod common;

use nine_tui::engine::chat::{Role, Template, Turn};

const BOS: &str = "<|bos|>";
const EOS: &str = "<|eos|>";

/// Facts made by `tests/chat/make.py` (`make golden`).
#[derive(serde::Deserialize)]
struct Facts {
    conversations: std::collections::BTreeMap<String, Conversation>,
    snippets: Vec<(String, Option<String>)>,
    templates: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Option<Fact>>>,
}

#[derive(serde::Deserialize)]
struct Conversation {
    messages: Vec<Turn>,
    reply: bool,
}

#[derive(serde::Deserialize)]
struct Fact {
    text: Option<String>,
    bytes: Option<usize>,
    hash: Option<String>,
    #[serde(default)]
    folded: bool,
}

fn template(source: &str) -> Template {
    let mut t = Template::new(source, BOS, EOS).unwrap_or_else(|e| panic!("{e}\n{source}"));
    t.set_clock(|| jiff::civil::datetime(2025, 3, 14, 15, 9, 26, 0));
    t
}

fn user(content: &str) -> Turn {
    Turn { role: Role::User, content: content.into() }
}

fn system(content: &str) -> Turn {
    Turn { role: Role::System, content: content.into() }
}

fn assistant(content: &str) -> Turn {
    Turn { role: Role::Assistant, content: content.into() }
}

/// FNV-1a with 64 bits, as in make.py.
fn fnv(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn facts() -> Facts {
    let facts = std::fs::read_to_string(common::repo("tests/chat/expected.json")).unwrap();
    serde_json::from_str(&facts).unwrap()
}

#[test]
fn every_real_template_renders_as_in_python() {
    let facts = facts();
    assert!(facts.templates.len() > 60, "{} templates", facts.templates.len());
    let mut wrong = Vec::new();
    for (name, expected) in &facts.templates {
        let path = common::cached(&format!("templates/{name}"));
        let source = std::fs::read_to_string(path).unwrap();
        let t = template(&source);
        for (which, fact) in expected {
            let conversation = &facts.conversations[which];
            let ours = t.render(&conversation.messages, conversation.reply);
            let (ours, fact) = match (ours, fact) {
                (Ok(ours), Some(fact)) => (ours, fact),
                (Err(_), None) => continue,
                (Ok(ours), None) => {
                    wrong.push(format!("{name}, {which}: Python refuses, ours {:?}", ours.text));
                    continue;
                }
                (Err(e), Some(_)) => {
                    wrong.push(format!("{name}, {which}: {e}"));
                    continue;
                }
            };
            let equal = match &fact.text {
                Some(text) => *text == ours.text,
                None => {
                    fact.bytes == Some(ours.text.len())
                        && fact.hash.as_deref() == Some(&fnv(&ours.text))
                }
            };
            if !equal || fact.folded != ours.folded_system {
                let theirs = fact.text.as_deref().unwrap_or("(a hash)");
                wrong.push(format!("{name}, {which}:\n ours {:?}\n them {theirs:?}", ours.text));
            }
            assert_eq!(ours.has_bos, ours.text.starts_with(BOS));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn single_features_render_as_in_python() {
    let facts = facts();
    let turns = &facts.conversations["turns"].messages;
    let mut wrong = Vec::new();
    for (source, expected) in &facts.snippets {
        let ours = Template::new(source, BOS, EOS).and_then(|mut t| {
            t.set_clock(|| jiff::civil::datetime(2025, 3, 14, 15, 9, 26, 0));
            // No folding here: these are no prompts.
            t.render(&turns[1..], true)
        });
        let ours = ours.map(|r| r.text);
        if ours.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{source:?}:\n ours {ours:?}\n them {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn refused(source: &str) -> String {
    let t = Template::new(source, BOS, EOS);
    let e = t.and_then(|t| t.render(&[user("a")], true)).expect_err(source).to_string();
    assert!(!e.contains('\n'), "one line: {e}");
    e
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_line() {
    let facts = [
        ("a\n{% if x %}\nb", "chat template: line 3: syntax error: unexpected end"),
        ("a\n{% if + %}\nb", "chat template: line 2: syntax error: "),
        ("\n\n{{ messages[0].content.nothing.deeper }}", "chat template: line 3: "),
        ("{{ 'a'|unheard_of }}", "chat template: line 1: unknown filter: "),
        ("a\n{{ raise_exception('no\nway') }}", "chat template: line 2: refuses: no way"),
        ("{{ strftime_now('%Q%') }}", "chat template: line 1: invalid operation: "),
        ("{% include '/etc/passwd' %}", "chat template: line 1: syntax error: "),
    ];
    for (source, start) in facts {
        let e = refused(source);
        assert!(e.starts_with(start), "{source:?}: {e}");
    }
}

#[test]
fn hostile_templates_end_soon_and_small() {
    let too_much = "takes too much work or memory";
    let nested = |n: usize| {
        format!(
            "{{% set ns = namespace(x=[]) %}}{{% for i in range({n}) %}}\
             {{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}"
        )
    };
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}\
                 {% endfor %}{% endfor %}{% endfor %}";
    let text =
        |start: &str, part: &str, n: usize, end: &str| start.to_owned() + &part.repeat(n) + end;
    let (deep, huge) = (nested(99_999), nested(60));
    let facts = [
        (loops.to_owned(), too_much),
        ("{{ 'x' * 100000000000 }}".into(), too_much),
        ("{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}".into(), too_much),
        ("{{ ('x' * 100000).replace('x', 'x' * 100000) }}".into(), too_much),
        ("{{ '%1000000000d'|format(1) }}".into(), too_much),
        ("{{ '{:>1000000000}'.format(1) }}".into(), "a number too large"),
        ("{{ range(0, 1000000000000)|list|length }}".into(), "too many elements"),
        // A list that holds itself twice, sixty times over: 2⁶⁰ brackets.
        (huge.clone() + "{{ ns.x }}", too_much),
        (huge.clone() + "{% set a %}{{ ns.x }}{% endset %}", too_much),
        (huge.clone() + "{{ ns.x|tojson }}", too_much),
        (huge.clone() + "{{ ns.x|tojson(indent=80) }}", too_much),
        (huge.clone() + "{{ ns.x|string|length }}", too_much),
        (huge.clone() + "{{ ns.x|upper }}", too_much),
        (huge.clone() + "{{ ns.x|join }}", too_much),
        (huge.clone() + "{{ ','.join(ns.x) }}", too_much),
        (huge.clone() + "{{ '{}'.format(ns.x) }}", too_much),
        (huge.clone() + "{{ '%s'|format(ns.x) }}", too_much),
        (huge.clone() + "{{ {'a': ns.x}.values()|string }}", too_much),
        (huge.clone() + "{{ {'a': ns.x}|dictsort|join }}", too_much),
        (nested(3000) + "{{ ns.x }}", "nested too deeply"),
        (nested(3000) + "{{ ns.x|tojson }}", "nested too deeply"),
        (nested(3000) + "{{ ns.x|trim }}", "nested too deeply"),
        (nested(3000) + "{{ ns.x|length }}{{ ns.x == ns.x }}", ""),
        (deep, too_much),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(), "recursion limit"),
        (text("", "{% set f = 1 %}", 60_000, ""), ""),
        (text("{{ ", "(", 50_000, "1"), "line 1: a tag is too long"),
        (text("\n{% if ", "not ", 5_000, "1 %}"), "line 2: a tag is too long"),
        // Just within a tag, in every way that an expression can be deep.
        (text("{{ ", "(", 8_000, "1"), "recursion limit"),
        (text("{{ ", "[", 8_000, "1"), "recursion limit"),
        (text("{{ ", "-", 16_000, "1 }}"), ""),
        (text("{{ ", "not ", 4_000, "1 }}"), ""),
        (text("{{ 1", "+1", 8_000, "}}"), ""),
        (text("{{ 1", "~1", 8_000, "}}"), ""),
        (text("{{ 1", "<1", 8_000, "}}"), ""),
        (text("{{ 'a'", "|e", 8_000, "}}"), ""),
        (text("{{ a", ".a", 8_000, "}}"), "undefined"),
        (text("{{ a", "[0]", 5_000, "}}"), "undefined"),
        (text("{{ a", " if a", 3_000, "}}"), ""),
        (text("{{ 1", " is odd", 2_000, "}}"), ""),
        (text("{{ 2", "**9", 5_000, "}}"), "unable to calculate"),
        (text("{% if 1 %}", "{% if 1 %}", 20_000, ""), "recursion limit"),
        (text("", "{% generation %}", 20_000, ""), "recursion limit"),
        (text("", "x", (1 << 20) + 1, ""), "too long"),
    ];
    for (source, message) in facts {
        let start = std::time::Instant::now();
        let outcome = Template::new(&source, BOS, EOS).and_then(|t| t.render(&[user("a")], true));
        let name: String = source.chars().take(60).collect();
        let took = start.elapsed();
        assert!(took.as_secs() < 30, "{name}: {took:?}");
        match outcome {
            Ok(r) => {
                assert!(message.is_empty(), "{name} gave {} bytes", r.text.len());
                assert!(r.text.len() < 4 << 20);
            }
            Err(e) => assert!(e.to_string().contains(message), "{name}: {e}"),
        }
    }
}

#[test]
fn a_long_conversation_is_within_the_budget_of_every_template() {
    let text = "Tell me more of it. ".repeat(40);
    let mut turns: Vec<Turn> =
        (0..200).flat_map(|_| [user(&text), assistant(&text)]).chain([user("Go on.")]).collect();
    turns.insert(0, system("Be brief."));
    let mut rendered = 0;
    for name in facts().templates.keys() {
        let path = common::cached(&format!("templates/{name}"));
        let t = template(&std::fs::read_to_string(path).unwrap());
        if t.render(&turns[..2], true).is_ok() {
            let prompt = t.render(&turns, true).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(prompt.text.len() > 200 * text.len(), "{name}");
            rendered += 1;
        }
    }
    assert!(rendered > 60);
}

#[test]
fn a_system_prompt_that_is_refused_or_dropped_is_folded_and_said_so() {
    let turns = [system(" Be brief.\n"), user("Hi"), assistant("Ho"), user("Now?")];
    let body = "{% for m in messages %}{{ m.role }}:{{ m.content|trim }};{% endfor %}";
    let refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}";
    let drops = "{% set messages = messages|rejectattr('role', 'equalto', 'system')|list %}";
    for source in [refuses.to_owned() + body, drops.to_owned() + body] {
        let r = template(&source).render(&turns, true).unwrap();
        assert_eq!(r.text, "user:Be brief.\n\nHi;assistant:Ho;user:Now?;");
        assert!(r.folded_system);
        // Nobody to fold it into, and a refusal is a refusal.
        let alone = template(&source).render(&turns[..1], true);
        assert!(alone.map_or(true, |r| !r.folded_system));
    }
    let e = template(&(refuses.to_owned() + body)).render(&turns[..1], true).unwrap_err();
    assert_eq!(e.to_string(), "chat template: line 1: refuses: no");

    let takes = template(body).render(&turns, true).unwrap();
    assert!(takes.text.starts_with("system:Be brief.;user:Hi;") && !takes.folded_system);
    // Nothing to fold: an empty system prompt is none.
    let empty = [system(" "), user("Hi")];
    assert!(!template(body).render(&empty, true).unwrap().folded_system);
}

#[test]
fn the_last_message_of_the_assistant_goes_on_where_it_stopped() {
    let turns = [user("Count."), assistant("One, two, ")];
    let keeps = template("{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}");
    let trims =
        template("{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}</s>{% endfor %}");
    let loses =
        template("{% for m in messages %}{% if m.role == 'user' %}x{% endif %}{% endfor %}");
    let text =
        |t: &Template, reply| t.render(&turns, reply).map(|r| r.text).map_err(|e| e.to_string());
    assert_eq!(text(&keeps, false).unwrap(), "<user>Count.</s><assistant>One, two, ");
    assert_eq!(text(&trims, false).unwrap(), "<user>Count.</s><assistant>One, two,");
    assert!(text(&loses, false).unwrap_err().contains("to be continued"));
    assert_eq!(text(&keeps, true).unwrap(), "<user>Count.</s><assistant>One, two, </s>");
    let ended = keeps.render(&turns[..1], false).unwrap();
    assert_eq!(ended.text, "<user>Count.</s>");
}

#[test]
fn a_prompt_says_whether_it_brings_its_own_bos() {
    let bos = |source: &str, bos: &str| {
        let t = Template::new(source, bos, "").unwrap();
        t.render(&[user("a")], true).unwrap().has_bos
    };
    assert!(bos("{{ bos_token }}x", "<s>"));
    assert!(bos("<s>x", "<s>"));
    assert!(!bos("x{{ bos_token }}", "<s>"));
    assert!(!bos("x", ""), "a model without that token");
    assert_eq!(template("abc\n").source(), "abc\n");
}
