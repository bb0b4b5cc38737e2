//! Properties of librdkafka that people set: which of them are ours, and whether the client takes a value.

/// Why a property of the client cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Only the daemon sets it.
    #[error("`{name}` is not for settings: {instead}")]
    Owned {
        name: String,
        /// The reason, or what to use instead.
        instead: &'static str,
    },
    /// The client does not know it, or not with this value; its own words. They may quote the value.
    #[error("librdkafka says: {0}")]
    Refused(String),
}

/// Checks one property by itself, without opening anything; `owned` are those that only we set, each with the reason.
/// A build without the client knows only these.
///
/// # Errors
/// When it is ours, or the client refuses it.
pub fn check_property(
    owned: &[(&str, &'static str)],
    name: &str,
    value: &str,
) -> Result<(), PropertyError> {
    if let Some((name, instead)) = owned.iter().find(|(owned, _)| *owned == name) {
        return Err(PropertyError::Owned { name: (*name).to_owned(), instead });
    }
    ask_client(name, value).map_err(PropertyError::Refused)
}

#[cfg(feature = "kafka")]
fn ask_client(name: &str, value: &str) -> Result<(), String> {
    use rdkafka::config::ClientConfig;
    use rdkafka::error::KafkaError;

    let config = ClientConfig::from_iter([(name.to_owned(), value.to_owned())]);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, words, ..)) => Err(words),
        Err(other) => Err(other.to_string()),
    }
}

#[cfg(not(feature = "kafka"))]
fn ask_client(_: &str, _: &str) -> Result<(), String> {
    Ok(())
}
