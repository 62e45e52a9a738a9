//! Expressions of all kinds, and several of them together.

use scan::FilterSpec;

use super::{Case, NOWS, ZONES, check};
use crate::dice::Dice;

/// Words that lines about failures are made of.
const WORDS: [&str; 40] = [
    "user",
    "root",
    "mallory",
    "from",
    "192.0.2.7",
    "198.51.100.23",
    "2001:db8::1",
    "::1",
    "[2001:DB8::2]",
    "::ffff:192.0.2.9",
    "999.1.1.1",
    "host.example.org",
    "failed",
    "Failed",
    "login",
    "closed",
    "conn=7",
    "conn=8",
    "conn=9",
    "ok",
    "192.0.2.77/24",
    "2001:db8::7/48",
    "k",
    "K",
    "é",
    "É",
    "ß",
    "ſ",
    "\u{212a}",
    "٣",
    "\u{a0}",
    "\u{2003}",
    "\u{1c}",
    "_",
    "-",
    "a\u{301}",
    "\"quoted\"",
    "(x)",
    "[y]",
    "{z}",
];

fn words(dice: &mut Dice) -> String {
    let n_words = 1 + dice.below(7);
    let words: Vec<_> = (0..n_words).map(|_| dice.pick(&WORDS)).collect();
    let sep = dice.pick(&[" ", " ", " ", "", "\t"]);
    format!("Aug 14 11:59:{:02} {}", dice.below(60), words.join(sep))
}

fn spec(failregex: &[&str]) -> FilterSpec {
    let failregex = failregex.iter().map(|&text| text.to_owned()).collect();
    FilterSpec { failregex, ..FilterSpec::default() }
}

fn cases(specs: Vec<FilterSpec>, n_lines: usize, seed: u64) -> Vec<Case> {
    let mut dice = Dice(seed);
    let mut cases = Vec::new();
    for spec in specs {
        for every in [false, true] {
            cases.push(Case {
                spec: spec.clone(),
                zone: ZONES[0],
                now: NOWS[0],
                raw: true,
                every,
                lines: (0..n_lines).map(|_| words(&mut dice)).collect(),
            });
        }
    }
    cases
}

/// Where Python's expressions and PCRE2's part, and where they are said to.
#[test]
fn expressions() {
    let expressions = [
        r"<HOST>",
        r"^ .*<HOST>$",
        r"^ <HOST>\b",
        r"<ADDR>",
        r"<IP4>",
        r"<IP6>",
        r"<DNS>$",
        r"<SUBNET>",
        r"<ADDR>/<CIDR>",
        r"<F-IP4/>|<F-IP6/>",
        r"<F-ID/>$",
        r"<F-ID>\w+</F-ID>$",
        r"<F-ID>\W+</F-ID>",
        r"<F-ID>\s+</F-ID>\S",
        r"<F-ID>\S+</F-ID>\s",
        r"<F-ID>\d+</F-ID>",
        r"<F-ID>[\w-]+</F-ID>",
        r"<F-ID>[^\W_]+</F-ID>$",
        r"<F-ID>[\S\t]+</F-ID>$",
        r"<F-ID>[^\S ]+</F-ID>",
        r"<F-ID>[^\w\s.]+</F-ID>",
        r"<F-ID>[\D]+</F-ID>$",
        r"<F-ID>[\Wk]+</F-ID>$",
        r"\b<F-ID>.</F-ID>\b",
        r"<F-ID>.\B.</F-ID>",
        r"(?i)<F-ID>FAILED|K|É</F-ID>",
        r"(?i)^.*<F-ID>[k-s]+</F-ID>$",
        r"<F-ID>(?i:ROOT) .*?</F-ID> ",
        r"<F-ID>(?:(?i)user|ROOT)</F-ID>",
        r"((?i)USER) <F-ID>\w+</F-ID>",
        r"(?iu)<F-ID>Ü|ß</F-ID>",
        r"<F-ID>(?P<x>\w)(?P=x)\w*</F-ID>",
        r"<F-ID>(\w)\2\w*</F-ID>",
        r"(?P<q>\x22)?<F-ID>quoted</F-ID>(?(q)\x22|')",
        r"(\()?<F-ID>\w</F-ID>(?(1)\))",
        r"<F-ID>[[]?[]y]+</F-ID>",
        r"<F-ID>[[:alpha:]]+</F-ID>",
        r"<F-ID>[^]]+</F-ID>$",
        r"<F-ID>{z}</F-ID>",
        r"<F-ID>o{2}t|o{,1}k|l{x}|f{1,}a</F-ID>",
        r"<F-ID>l{,}o</F-ID>",
        r"<F-ID>o{2}?t</F-ID>",
        r"<F-ID>o++t</F-ID>",
        r"<F-ID>(?>fa|fail)ed</F-ID>",
        r"<F-ID>\<|\>|\'|\w\-\w</F-ID>",
        r"<F-ID>\x66\u0061\151led</F-ID>",
        r"<F-ID>\0|\x1c|\v</F-ID>",
        r"(?x) <F-ID> us er  # a comment
            </F-ID>",
        r"(?s)<F-ID>.+</F-ID>\Z",
        r"<F-ID>.+</F-ID>\Z",
        r"(?m)^<F-ID>.+</F-ID>$",
        r"<F-ID>.*</F-ID>$\n",
        r"(?<!user )<F-ID>root</F-ID>",
        r"(?<=user )<F-ID>root</F-ID>(?! from)(?= )",
        r"^\A<F-ID>.\w+</F-ID>(?#note)",
        r"<F-ID>(a|root|k)*?</F-ID>$",
        r"<F-ID>(?:user|root|)+</F-ID>$",
        r"<F-ID>[a-ce-f]+|[+--]+|[é-ü]</F-ID>",
        r"<F-ID>é|\u00c9|\U0001F600</F-ID>",
        // No id: refused.
        r"root",
        r"<F-USER>root</F-USER>",
        // Not Python's.
        r"<HOST>\K",
        r"<HOST>\h",
        r"<HOST>\Q.\E",
        r"<HOST>(?|a|b)",
        r"<HOST>(*FAIL)",
        r"<HOST>(?P>x)",
        r"<HOST>(?R)",
        r"<HOST>\p{L}",
        r"<HOST>\z",
        r"<HOST>\g1",
        r"<HOST>a**",
        r"<HOST>^*",
        r"<HOST>(?i)x",
        r"<HOST>(x",
        r"<HOST>x)",
        r"<HOST>[x",
        r"<HOST>\1",
        r"<HOST>(?P=dns)(?P=no)",
        r"<HOST>(?P<dns>x)",
        r"<HOST>[z-a]",
        r"<HOST>[a-\d]",
        r"<HOST>x{3,2}",
        r"<HOST>(?P<1a>x)",
        r"<F-A-B>x</F-A-B><HOST>",
        r"<HOST>\8",
        r"<HOST>[\B]",
        r"<HOST>(?(9)a|b)",
        r"<HOST>(?(ip4)a|b|c)",
        r" ",
        "",
    ];
    let mut specs: Vec<_> = expressions.iter().map(|text| spec(&[text])).collect();
    for usedns in ["no", "raw", "never"] {
        specs.push(FilterSpec { usedns: Some(usedns.to_owned()), ..spec(&["<HOST>$"]) });
    }
    check(&cases(specs, 60, 0xe59));
}

/// Several expressions together, and what is remembered from line to line.
#[test]
fn filters() {
    let text = |text: &str| Some(text.to_owned());
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mlfid = r"<F-MLFID>conn=\d</F-MLFID>";
    let specs = vec![
        spec(&["user.*<HOST>", "<HOST> .*closed", "<HOST>"]),
        FilterSpec { ignoreregex: texts(&["root", "ok"]), ..spec(&["<HOST>"]) },
        FilterSpec {
            ignoreregex: texts(&["root"]),
            ..spec(&["user.*<HOST>", "ok.*<HOST>", "login.*<HOST>", "<HOST>"])
        },
        FilterSpec {
            prefregex: text("^ <F-CONTENT>.+</F-CONTENT>$"),
            ..spec(&["^<HOST>", "^user <F-USER>\\S+</F-USER>.*<ADDR>", "<HOST>$"])
        },
        FilterSpec {
            prefregex: text("^ (?:<F-USER>root</F-USER> )?<F-CONTENT>.*</F-CONTENT>"),
            ..spec(&["^user <F-USER>\\S+</F-USER> .*<ADDR>", "^.*<ADDR>"])
        },
        FilterSpec {
            prefregex: text("^ (?:<F-USER>root</F-USER> )?<F-CONTENT>.*</F-CONTENT>"),
            ..spec(&["^(?:user <F-ALT_USER>\\S+</F-ALT_USER> )?.*<ADDR>"])
        },
        FilterSpec { prefregex: text("<HOST>"), ..spec(&["closed", "failed|Failed"]) },
        spec(&[
            "(?:user <F-ALT_USER_1>root</F-ALT_USER_1>|login <F-ALT_USER>\\w+</F-ALT_USER>)? .*<ADDR>",
        ]),
        spec(&[
            "<F-TUPLE_ID>\\w+</F-TUPLE_ID> <F-TUPLE_ID_1>\\w+</F-TUPLE_ID_1>.*<F-ID>\\w</F-ID>",
        ]),
        spec(&["<F-TUPLE_ID>\\S+</F-TUPLE_ID> <ADDR>"]),
        spec(&["<F-ID>\\w+ <ADDR></F-ID>", "<F-ID>user \\S+</F-ID>"]),
        spec(&["<ADDR> <F-PORT/>"]),
        spec(&["user (?:<HOST> from|root)?", "(?:<F-ID>ok</F-ID>)?", "root|<HOST>"]),
        spec(&[
            &format!("{mlfid}.* <ADDR>"),
            &format!("{mlfid}.*user <F-USER>\\S+</F-USER>"),
            &format!("{mlfid}.*<F-NOFAIL>ok</F-NOFAIL>"),
            &format!("<F-MLFFORGET>closed</F-MLFFORGET>.*{mlfid}"),
        ]),
        spec(&[
            &format!("^.*{mlfid}.*<F-NOFAIL>login</F-NOFAIL> <ADDR>"),
            &format!("<F-NOFAIL>from</F-NOFAIL> <ADDR>.*{mlfid}"),
            &format!("<F-MLFGAINED>ok</F-MLFGAINED>.*{mlfid}"),
            &format!("{mlfid}.*<F-MLFFORGET><F-NOFAIL>closed</F-NOFAIL></F-MLFFORGET>"),
            &format!("{mlfid}(?:.*<F-USER>root|mallory</F-USER>)?.*[Ff]ailed"),
            &format!("(?:<F-USER>root|mallory</F-USER>.*)?{mlfid}"),
        ]),
        FilterSpec {
            prefregex: text(&format!("^ (?:.* )?{mlfid}(?: <F-CONTENT>.+</F-CONTENT>)?$")),
            ..spec(&[
                "^<F-NOFAIL>login</F-NOFAIL>(?: .*<ADDR>)?",
                "^<F-USER>root|mallory</F-USER>",
                "^.*<ADDR>",
                "^<F-MLFFORGET>closed</F-MLFFORGET>",
                "^<F-NOFAIL><F-MLFGAINED>ok</F-MLFGAINED></F-NOFAIL>",
            ])
        },
        FilterSpec {
            maxlines: Some(2),
            ..spec(&["^ user.*\\n.* <HOST>$", "^ root(?:.*\\n)?.*<ADDR>"])
        },
        FilterSpec {
            maxlines: Some(5),
            ignoreregex: texts(&["ok"]),
            ..spec(&[
                "^ user.*<SKIPLINES> .*<HOST>$",
                "^.*(?P<c>conn=\\d).*<SKIPLINES>^.*(?P=c).*<ADDR>.*<SKIPLINES>^ closed",
                "^ login.*$\\n^ .*<ADDR>",
            ])
        },
        FilterSpec {
            maxlines: Some(3),
            ignoreregex: texts(&["ok"]),
            prefregex: text("<F-CONTENT> .*</F-CONTENT>\n$"),
            ..spec(&["user.*<HOST>", "root.*<HOST>", "login.*<HOST>", "^ .*failed <HOST>"])
        },
        FilterSpec {
            maxlines: Some(3),
            prefregex: text("^ user"),
            ..spec(&["<HOST>", "^ <ADDR>"])
        },
        FilterSpec { maxlines: Some(0), ..spec(&["<HOST>"]) },
        FilterSpec { ignoreregex: texts(&["(x"]), ..spec(&["<HOST>"]) },
        FilterSpec { prefregex: text("(x"), ..spec(&["<HOST>"]) },
        FilterSpec { logtimezone: text("Europe/Paris"), ..spec(&["<HOST>"]) },
    ];
    check(&cases(specs, 400, 0xf117e5));
}
