//! One call of a handler: what it may read of the request.

use crate::route::Parameters;
use aegis_core::ambient::Timestamp;
use aegis_core::encoding::object;
use aegis_core::error::Error;
use aegis_core::id::RequestId;
use aegis_core::pipeline::App;
use serde::de::DeserializeOwned;
use std::net::IpAddr;

pub(crate) struct Call<'a> {
    pub(crate) app: &'a App,
    pub(crate) id: &'a RequestId,
    pub(crate) arrived_at: Timestamp,
    pub(crate) source: IpAddr,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) parameters: Parameters,
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    /// What clients call this deployment by, without a slash at its end.
    pub(crate) url: &'a str,
}

impl Call<'_> {
    /// The body as JSON: an object, as every request is.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.expect_type("application/json")?;
        let mut text = serde_json::Deserializer::from_slice(self.body);
        let body = object(&mut text).and_then(|body| text.end().map(|()| body));
        body.map_err(|error| Error::invalid("body", error))
    }

    /// The body as JSON, or the default where there is none.
    pub(crate) fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Error> {
        match self.body.is_empty() {
            true => Ok(T::default()),
            false => self.json(),
        }
    }

    pub(crate) fn form<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.expect_type("application/x-www-form-urlencoded")?;
        serde_urlencoded::from_bytes(self.body).map_err(|error| Error::invalid("body", error))
    }

    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_urlencoded::from_str(self.query).map_err(|error| Error::invalid("query", error))
    }

    /// A path parameter that is not what the decision was made on.
    pub(crate) fn parameter<T: TryFrom<String>>(&self, name: &'static str) -> Result<T, Error>
    where
        T::Error: std::error::Error + Send + Sync + 'static,
    {
        let text = self.parameters.0.get(name).cloned().unwrap_or_default();
        T::try_from(text).map_err(|error| Error::invalid(name, error))
    }

    fn expect_type(&self, wanted: &'static str) -> Result<(), Error> {
        let given = self.content_type.and_then(|value| value.split(';').next()).map(str::trim);
        match given.is_some_and(|given| given.eq_ignore_ascii_case(wanted)) {
            true => Ok(()),
            false => Err(Error::invalid("Content-Type", format!("it must be {wanted}"))),
        }
    }
}
