//! A browser of its own for a test, through chromedriver (W3C WebDriver).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name that WebDriver gives an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// WebDriver's code point for the key Enter.
const ENTER: &str = "\u{e007}";

/// A headless browser that ends with the test.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one; `None`, said aloud, where Chromium is not installed. On CI it must be.
    pub(crate) fn start() -> Option<Self> {
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = spawned else {
            assert!(std::env::var_os("CI").is_none(), "chromedriver is not installed");
            println!("skipped: chromedriver is not installed");
            return None;
        };
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let port = port.expect("chromedriver names its port");
        let mut browser = Self { driver, port, session: String::new() };
        // The sandbox of a browser does not start for root, and a container's /dev/shm is small.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"];
        let options = json!({"goog:chromeOptions": {"args": arguments}});
        let wanted = json!({"capabilities": {"alwaysMatch": options}});
        let made = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        Some(browser)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|said| panic!("{path} {body}: {said}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let (status, mut answer) = self.exchange(method, path, body).unwrap();
        let value = answer["value"].take();
        if status == 200 { Ok(value) } else { Err(value) }
    }

    /// One request, and its answer. chromedriver refuses a host that is not local, and leaves a
    /// connection open that it was asked to close: the length says where the answer ends.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let (session, length) = (&self.session, body.len());
        let head = format!("{method} {session}{path} HTTP/1.1\r\nHost: localhost\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}")?;
        let mut reader = BufReader::new(stream);
        let head: Vec<String> =
            reader.by_ref().lines().map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
        let status = head.first().and_then(|it| it.split(' ').nth(1)?.parse().ok());
        let length = head.iter().find_map(|it| {
            let (name, length) = it.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| length.trim().parse().ok())?
        });
        let (Some(status), Some(length)) = (status, length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        Ok((status, serde_json::from_slice(&text)?))
    }

    /// Asks until the answer pleases: a page may still be coming.
    #[track_caller]
    pub(crate) fn wait_until(&self, pleases: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !pleases(self) {
            assert!(Instant::now() < end, "not in time; the page: {}", self.source());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn element(&self, css: &str) -> String {
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.ask("POST", "/element", &wanted);
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({"url": url}));
    }

    /// Where it is.
    #[track_caller]
    pub(crate) fn address(&self) -> String {
        self.ask("GET", "/url", &Value::Null).as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn source(&self) -> String {
        self.ask("GET", "/source", &Value::Null).as_str().unwrap().to_owned()
    }

    /// Types into a field, and sends its form by the key Enter.
    #[track_caller]
    pub(crate) fn enter(&self, css: &str, text: &str) {
        let field = self.element(css);
        self.ask("POST", &format!("{field}/clear"), &json!({}));
        self.ask("POST", &format!("{field}/value"), &json!({"text": text}));
        self.leave(|| {
            self.ask("POST", &format!("{field}/value"), &json!({"text": ENTER}));
        });
    }

    /// Clicks; when that leads to another page, it is there afterwards.
    #[track_caller]
    pub(crate) fn click(&self, css: &str) {
        let found = self.element(css);
        let click = || {
            self.ask("POST", &format!("{found}/click"), &json!({}));
        };
        if css.ends_with("summary") { click() } else { self.leave(click) }
    }

    /// Does what leaves the page, and waits for the next one.
    #[track_caller]
    fn leave(&self, how: impl Fn()) {
        self.script("document.documentElement.dataset.left = 'no'");
        how();
        let there = "return !document.documentElement.dataset.left && document.readyState";
        self.wait_until(|it| it.try_script(there) == Some(json!("complete")));
    }

    /// The text of the first of such elements; empty while there is none.
    pub(crate) fn text(&self, css: &str) -> String {
        let look = format!("const it = document.querySelector({css:?}); return it && it.innerText");
        let text = self.try_script(&look).unwrap_or_default();
        text.as_str().unwrap_or_default().trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn count(&self, css: &str) -> u64 {
        let look = format!("return document.querySelectorAll({css:?}).length");
        self.script(&look).as_u64().unwrap()
    }

    /// Runs a script of the test, whatever the page's policy is.
    #[track_caller]
    pub(crate) fn script(&self, text: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": text, "args": []}))
    }

    /// The same, when the page may be changing.
    fn try_script(&self, text: &str) -> Option<Value> {
        self.try_ask("POST", "/execute/sync", &json!({"script": text, "args": []})).ok()
    }

    #[track_caller]
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let parameters =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &parameters);
    }

    /// As a reader who prefers dark pages sees it.
    #[track_caller]
    pub(crate) fn darken(&self) {
        let dark = json!({"name": "prefers-color-scheme", "value": "dark"});
        self.command("Emulation.setEmulatedMedia", &json!({"features": [dark]}));
    }

    #[track_caller]
    fn command(&self, name: &str, parameters: &Value) {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": name, "params": parameters}));
    }

    /// What it shows, as PNG.
    #[track_caller]
    pub(crate) fn picture(&self) -> Vec<u8> {
        let text = self.ask("GET", "/screenshot", &Value::Null);
        let letters = text.as_str().unwrap().bytes().filter(|it| *it != b'=');
        let value = |letter| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let sextets: Vec<u8> = letters.map(value).collect();
        let bytes = sextets.chunks(4).flat_map(|it| {
            let bits = it.iter().fold(0_u32, |bits, it| bits << 6 | u32::from(*it));
            let bits = bits << (6 * (4 - it.len()));
            bits.to_be_bytes()[1..it.len()].to_vec()
        });
        bytes.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser, too; a driver that does not answer is ended all the same.
        let _ = self.exchange("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
