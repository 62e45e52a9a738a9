//! Evaluates the arithmetic that fail2ban gives to Python's `eval`, and nothing beyond it.
//!
//! ```text
//! choice  = or [ "if" or "else" choice ]
//! or      = and { "or" and }          and = not { "and" not }      not = [ "not" ] compare
//! compare = shift { ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) shift }
//! shift   = sum { ( "<<" | ">>" ) sum }
//! sum     = product { ( "+" | "-" ) product }
//! product = unary { ( "*" | "/" | "//" | "%" ) unary }
//! unary   = ( "+" | "-" ) unary | power
//! power   = atom [ "**" unary ]
//! atom    = number | name | name "(" choice { "," choice } ")" | "(" choice ")"
//! ```
//!
//! Numbers are floating; a `#` ends the expression, as in Python.

/// How deep an expression may nest; far beyond any formula, far below the stack.
const MAX_DEPTH: usize = 64;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExpressionError {
    /// Something stands where it has no meaning.
    #[error("`{0}` is not understood")]
    Syntax(String),
    /// It ends where more is needed.
    #[error("the expression ends too early")]
    End,
    /// A name that means nothing here.
    #[error("`{0}` is unknown")]
    Name(String),
    /// A function with too few or too many values.
    #[error("`{0}` takes another number of values")]
    Arity(String),
    /// It nests too deep.
    #[error("the expression nests more than {MAX_DEPTH} deep")]
    Depth,
    /// It has no finite value.
    #[error("the value is no number")]
    NotFinite,
}

/// Evaluates `text`; `name` says what names such as `ban.Time` stand for.
///
/// # Errors
///
/// Names the first thing that is not understood.
pub fn evaluate(text: &str, name: &dyn Fn(&str) -> Option<f64>) -> Result<f64, ExpressionError> {
    let mut parser = Parser { rest: text, names: name, depth: 0 };
    let value = parser.choice()?;
    match parser.peek() {
        "" if value.is_finite() => Ok(value),
        "" => Err(ExpressionError::NotFinite),
        rest => Err(ExpressionError::Syntax(rest.chars().take(20).collect())),
    }
}

struct Parser<'a> {
    rest: &'a str,
    names: &'a dyn Fn(&str) -> Option<f64>,
    depth: usize,
}

type Number = Result<f64, ExpressionError>;

impl<'a> Parser<'a> {
    /// What follows, without white space and comment.
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('#') {
            self.rest = "";
        }
        self.rest
    }

    /// Takes the first of `tokens` that follows.
    fn take(&mut self, tokens: &[&'static str]) -> Option<&'static str> {
        let rest = self.peek();
        let token = *tokens.iter().find(|token| {
            let is_word = token.starts_with(char::is_alphabetic);
            rest.strip_prefix(**token)
                .is_some_and(|after| !is_word || !after.starts_with(is_name_char))
        })?;
        self.rest = &rest[token.len()..];
        Some(token)
    }

    fn expect(&mut self, token: &'static str) -> Result<(), ExpressionError> {
        match self.take(&[token]) {
            Some(_) => Ok(()),
            None => Err(self.unexpected()),
        }
    }

    fn unexpected(&mut self) -> ExpressionError {
        match self.peek() {
            "" => ExpressionError::End,
            rest => ExpressionError::Syntax(rest.chars().take(20).collect()),
        }
    }

    fn choice(&mut self) -> Number {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError::Depth);
        }
        let value = self.or()?;
        let chosen = if self.take(&["if"]).is_some() {
            let condition = self.or()?;
            self.expect("else")?;
            let other = self.choice()?;
            if condition == 0.0 { other } else { value }
        } else {
            value
        };
        self.depth -= 1;
        Ok(chosen)
    }

    fn or(&mut self) -> Number {
        let mut value = self.and()?;
        while self.take(&["or"]).is_some() {
            let other = self.and()?;
            value = if value == 0.0 { other } else { value };
        }
        Ok(value)
    }

    fn and(&mut self) -> Number {
        let mut value = self.not()?;
        while self.take(&["and"]).is_some() {
            let other = self.not()?;
            value = if value == 0.0 { value } else { other };
        }
        Ok(value)
    }

    fn not(&mut self) -> Number {
        let mut is_negated = false;
        while self.take(&["not"]).is_some() {
            is_negated = !is_negated;
        }
        let value = self.compare()?;
        Ok(if is_negated { truth(value == 0.0) } else { value })
    }

    fn compare(&mut self) -> Number {
        let mut left = self.shift()?;
        let mut holds = None;
        while let Some(operator) = self.take(&["<=", ">=", "==", "!=", "<", ">"]) {
            let right = self.shift()?;
            let is_true = match operator {
                "<=" => left <= right,
                ">=" => left >= right,
                "==" => left == right,
                "!=" => left != right,
                "<" => left < right,
                _ => left > right,
            };
            holds = Some(holds.unwrap_or(true) && is_true); // a < b < c, as in Python
            left = right;
        }
        Ok(holds.map_or(left, truth))
    }

    fn shift(&mut self) -> Number {
        let mut value = self.sum()?;
        while let Some(operator) = self.take(&["<<", ">>"]) {
            let by = self.sum()?;
            value = match operator {
                "<<" => value * by.exp2(),
                _ => (value / by.exp2()).floor(),
            };
        }
        Ok(value)
    }

    fn sum(&mut self) -> Number {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&["+", "-"]) {
            let other = self.product()?;
            value = if operator == "+" { value + other } else { value - other };
        }
        Ok(value)
    }

    fn product(&mut self) -> Number {
        let mut value = self.unary()?;
        while !self.peek().starts_with("**") {
            let Some(operator) = self.take(&["*", "//", "/", "%"]) else { break };
            let other = self.unary()?;
            value = match operator {
                "*" => value * other,
                "//" => (value / other).floor(),
                "/" => value / other,
                _ => value - other * (value / other).floor(), // the sign is the divisor's
            };
        }
        Ok(value)
    }

    fn unary(&mut self) -> Number {
        let mut is_negative = false;
        while let Some(sign) = self.take(&["+", "-"]) {
            is_negative ^= sign == "-";
        }
        let value = self.power()?;
        Ok(if is_negative { -value } else { value })
    }

    fn power(&mut self) -> Number {
        let base = self.atom()?;
        if self.take(&["**"]).is_none() {
            return Ok(base);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError::Depth);
        }
        let exponent = self.unary()?;
        self.depth -= 1;
        Ok(base.powf(exponent))
    }

    fn atom(&mut self) -> Number {
        if self.take(&["("]).is_some() {
            let value = self.choice()?;
            self.expect(")")?;
            return Ok(value);
        }
        let rest = self.peek();
        if rest.starts_with(|it: char| it.is_ascii_digit() || it == '.') {
            return self.number();
        }
        let end = rest.find(|it| !is_name_char(it)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err(self.unexpected());
        }
        self.rest = after;
        if self.take(&["("]).is_some() {
            return self.call(name);
        }
        match name {
            "True" => Ok(1.0),
            "False" => Ok(0.0),
            "math.pi" => Ok(std::f64::consts::PI),
            "math.e" => Ok(std::f64::consts::E),
            _ => (self.names)(name).ok_or_else(|| ExpressionError::Name(name.to_owned())),
        }
    }

    fn number(&mut self) -> Number {
        let rest = self.rest;
        let digits = |text: &str| text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let mut end = digits(rest);
        if rest[end..].starts_with('.') {
            end += 1 + digits(&rest[end + 1..]);
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let n_digits = digits(&exponent[sign..]);
            end += if n_digits > 0 { 1 + sign + n_digits } else { 0 };
        }
        let (number, after) = rest.split_at(end);
        self.rest = after;
        number.parse().map_err(|_| ExpressionError::Syntax(number.to_owned()))
    }

    fn call(&mut self, name: &str) -> Number {
        let mut values = vec![self.choice()?];
        while self.take(&[","]).is_some() {
            values.push(self.choice()?);
        }
        self.expect(")")?;
        let function = name.strip_prefix("math.").unwrap_or(name);
        match (function, values.as_slice()) {
            ("float", [x]) => Ok(*x),
            ("int" | "trunc", [x]) => Ok(x.trunc()),
            ("abs" | "fabs", [x]) => Ok(x.abs()),
            ("round", [x]) => Ok(x.round_ties_even()),
            ("floor", [x]) => Ok(x.floor()),
            ("ceil", [x]) => Ok(x.ceil()),
            ("exp", [x]) => Ok(x.exp()),
            ("sqrt", [x]) => Ok(x.sqrt()),
            ("log", [x]) => Ok(x.ln()),
            ("log", [x, base]) => Ok(x.log(*base)),
            ("log2", [x]) => Ok(x.log2()),
            ("log10", [x]) => Ok(x.log10()),
            ("pow", [x, y]) => Ok(x.powf(*y)),
            ("min", [_, _, ..]) => Ok(values.iter().copied().fold(f64::INFINITY, f64::min)),
            ("max", [_, _, ..]) => Ok(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            (
                "float" | "int" | "trunc" | "abs" | "fabs" | "round" | "floor" | "ceil" | "exp"
                | "sqrt" | "log" | "log2" | "log10" | "pow" | "min" | "max",
                _,
            ) => Err(ExpressionError::Arity(name.to_owned())),
            _ => Err(ExpressionError::Name(name.to_owned())),
        }
    }
}

fn is_name_char(it: char) -> bool {
    it.is_alphanumeric() || matches!(it, '_' | '.')
}

fn truth(is_true: bool) -> f64 {
    if is_true { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<f64, &str>) {
        let name = |name: &str| match name {
            "ban.Time" => Some(600.0),
            "ban.Count" => Some(3.0),
            "banFactor" => Some(1.0),
            _ => None,
        };
        let got = evaluate(text, &name).map_err(|it| it.to_string());
        assert_eq!(got, want.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn evaluates() {
        check("1 + 2 * 3", Ok(7.0));
        check("(1 + 2) * 3 # said", Ok(9.0));
        check("-2 ** 2", Ok(-4.0)); // the power binds tighter, as in Python
        check("2 ** -1", Ok(0.5));
        check("2 ** 3 ** 2", Ok(512.0));
        check("7 // 2 + 7 % 4 - 1.5e1", Ok(-9.0));
        check("-7 % 4", Ok(1.0));
        check("1 if 2 < 3 < 4 else 0", Ok(1.0));
        check("0 or 5 and not 0", Ok(1.0));
        // fail2ban's own formulas, of its jail.conf's explanations.
        check("ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor", Ok(4800.0));
        check("ban.Time * math.exp(float(ban.Count)*banFactor)/math.exp(3*banFactor)", Ok(600.0));
        check("max(1, 5, 3) + min(4, 2)", Ok(7.0));
    }

    #[test]
    fn refuses() {
        check("1 +", Err("the expression ends too early"));
        check("1 2", Err("`2` is not understood"));
        check("__import__('os')", Err("`'os')` is not understood"));
        check("open", Err("`open` is unknown"));
        check("exec(1)", Err("`exec` is unknown"));
        check("min(1)", Err("`min` takes another number of values"));
        check("1 / 0", Err("the value is no number"));
        check(&"(".repeat(1000), Err("the expression nests more than 64 deep"));
        check(&"2**".repeat(1000), Err("the expression nests more than 64 deep"));
    }
}
