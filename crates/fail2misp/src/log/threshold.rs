//! Which lines are written: those of a level of fail2ban's and above.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The least that is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Threshold {
    level: LevelFilter,
    /// Whether of the informations those alone that are notices: tracing knows no such level, they
    /// bear a field.
    notices: bool,
}

impl Default for Threshold {
    /// fail2ban's `INFO`.
    fn default() -> Self {
        Self { level: LevelFilter::INFO, notices: false }
    }
}

impl Threshold {
    /// Reads fail2ban's `loglevel`, a name or a number of Python's; nothing where it is none.
    pub(super) fn read(loglevel: &str) -> Option<Self> {
        let number = match loglevel.to_ascii_uppercase().as_str() {
            "CRITICAL" => 50,
            "ERROR" => 40,
            "WARNING" => 30,
            "NOTICE" => 25,
            "INFO" => 20,
            "MSG" => 18,
            "DEBUG" => 10,
            "TRACEDEBUG" => 7,
            "HEAVYDEBUG" => 5,
            number => number.parse::<u8>().ok()?,
        };
        let level = match number {
            // What is critical is an error here.
            31.. => LevelFilter::ERROR,
            26..=30 => LevelFilter::WARN,
            11..=25 => LevelFilter::INFO,
            8..=10 => LevelFilter::DEBUG,
            0..=7 => LevelFilter::TRACE,
        };
        Some(Self { level, notices: (21..=25).contains(&number) })
    }

    fn lets(self, metadata: &Metadata<'_>) -> bool {
        let is_notice = || metadata.fields().field("notice").is_some();
        *metadata.level() <= self.level
            && (!self.notices || *metadata.level() != Level::INFO || is_notice())
    }
}

impl<S: Subscriber> Layer<S> for Threshold {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.lets(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps the level of what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<Level>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().expect("nobody panics with it").push(*event.metadata().level());
        }
    }

    /// Checks how many of five lines, an error, a warning, a notice, an information and one for
    /// debugging, are written.
    #[track_caller]
    fn check(loglevel: &str, want: Option<usize>) {
        let written = Written::default();
        let got = Threshold::read(loglevel).map(|threshold| {
            let subscriber = Registry::default().with(threshold).with(written.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!("error");
                tracing::warn!("warning");
                tracing::info!(notice = true, "notice");
                tracing::info!("information");
                tracing::debug!("debug");
            });
            written.0.lock().expect("nobody panics with it").len()
        });
        assert_eq!(got, want, "{loglevel}");
    }

    #[test]
    fn levels_are_fail2bans() {
        check("CRITICAL", Some(1)); // an error is worth reading
        check("error", Some(1));
        check("WARNING", Some(2));
        check("NOTICE", Some(3));
        check("INFO", Some(4));
        check("9", Some(5));
        check("HEAVYDEBUG", Some(5));
        check("loud", None);
    }
}
