//! `unban IP --false-positive`: tells MISP that an address was banned by mistake.

use control::ClientError;
use control::exchange::ExchangeClient;
use exchange::{Report, spool};
use jail::Subject;
use jiff::Timestamp;

use crate::cli::Folders;
use crate::deliver;
use crate::exit::Failed;
use crate::operator::asked;

/// Hands it to exchange, or to the spool where that does not run; either way it is not lost.
pub(crate) fn tell(folders: &Folders, subjects: &[Subject]) -> Result<(), Failed> {
    match ExchangeClient::connect(&folders.exchange_socket()) {
        Ok(mut exchange) => exchange.false_positive(subjects).map_err(asked),
        Err(ClientError::NoDaemon { .. }) => {
            let now = Timestamp::now();
            let mistakes: Vec<_> =
                subjects.iter().map(|it| Report::mistake(it.clone(), now)).collect();
            spool::put(&folders.state, &mistakes).map_err(Failed::other_side)?;
            deliver::ensure(folders).map_err(Failed::other_side)
        }
        Err(error) => Err(asked(error)),
    }
}
